// SPDX-License-Identifier: GPL-2.0
#include "tools/program.h"

#include <glib.h>
#include <sys/wait.h>

#include <memory>

namespace izo::tools {
namespace {

struct Free {
  void operator()(char* text) const { g_free(text); }
  void operator()(GError* error) const { g_error_free(error); }
};

}  // namespace

Finished run_program(const std::vector<std::string>& words) {
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (const std::string& word : words) {
    argv.push_back(const_cast<char*>(word.c_str()));
  }
  argv.push_back(nullptr);
  // su(1) without "-" leaves a PATH in which mke2fs and its like are not found.
  const char* path = g_getenv("PATH");
  g_setenv("PATH", (std::string(path != nullptr ? path : "/usr/bin") + ":/usr/sbin:/sbin").c_str(),
           TRUE);
  char* output = nullptr;
  char* errors = nullptr;
  GError* failed = nullptr;
  int status = 0;
  g_spawn_sync(nullptr, argv.data(), nullptr, G_SPAWN_SEARCH_PATH, nullptr, nullptr, &output,
               &errors, &status, &failed);
  const std::unique_ptr<char, Free> output_owner(output);
  const std::unique_ptr<char, Free> errors_owner(errors);
  const std::unique_ptr<GError, Free> failed_owner(failed);
  if (failed != nullptr) {
    return {.errors = failed->message};
  }
  return {.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
          .output = output != nullptr ? output : "",
          .errors = errors != nullptr ? errors : ""};
}

}  // namespace izo::tools
