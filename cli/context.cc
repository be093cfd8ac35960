#include "cli/context.h"

#include "cli/exit_code.h"

namespace shardswarm::cli {

int report_error(Context& context, const Error& error) {
  context.terminal.message(LineKind::kError, error.message);
  return exit_code(error.code);
}

int report_end(Context& context, const Error& error) {
  const int code = report_error(context, error);
  return context.signals.exit_code() != 0 ? context.signals.exit_code() : code;
}

}  // namespace shardswarm::cli
