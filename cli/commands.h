// The commands. Each function adds one to the application; its callback sets `exit_code`.
#pragma once

#include "cli/options.h"

namespace shardswarm::cli {

struct Context {
  Common common;
  Signals& signals;
  int exit_code = 0;
};

void add_index(CLI::App& app, Context& context);
void add_seed(CLI::App& app, Context& context);
void add_fetch(CLI::App& app, Context& context);
void add_inspect(CLI::App& app, Context& context);
void add_verify(CLI::App& app, Context& context);
void add_drop(CLI::App& app, Context& context);
void add_convert(CLI::App& app, Context& context);
void add_list(CLI::App& app, Context& context);
void add_forget(CLI::App& app, Context& context);
void add_key(CLI::App& app, Context& context);

}  // namespace shardswarm::cli
