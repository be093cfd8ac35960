// The commands, each in a file of its own name.
#pragma once

#include "cli/command.h"

namespace shardswarm::cli {

CommandSpec index_command();
CommandSpec seed_command();
CommandSpec fetch_command();
CommandSpec inspect_command();
CommandSpec verify_command();
CommandSpec drop_command();
CommandSpec convert_command();
CommandSpec list_command();
CommandSpec forget_command();
CommandSpec key_new_command();
CommandSpec key_show_command();
CommandSpec key_export_command();
CommandSpec key_import_command();

}  // namespace shardswarm::cli
