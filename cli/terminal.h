// What the command writes: results to stdout, everything else to stderr.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

#include "cli/status_line.h"

namespace shardswarm::cli {

enum class LineKind : std::uint8_t { kNote, kDebug, kInfo, kWarning, kError };

// The only writer of stdout and stderr. A status line is redrawn in place on a terminal; messages
// stand above it and never in it. Elsewhere (a file, the journal) a status is a line of its own
// every five seconds, with the time.
//
// All text is made printable here (base/text.h), whatever it comes from: callers need not know
// what is from outside. In a locale without UTF-8 it becomes ASCII. Colours are used on a terminal,
// unless NO_COLOR is set or TERM is "dumb"; such a terminal gets no status redrawn in place either.
//
// A stream that cannot be written (a closed pipe, a full disk) is no reason to end: what was to be
// written is lost, and lost_results() tells of stdout. Thread-safe.
class Terminal {
 public:
  Terminal();
  ~Terminal();  // ends the status
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  // With `quiet` only errors are written to stderr, and no status.
  void set_quiet(bool quiet);

  // One line of results.
  void result(std::string_view line);
  // Several lines that end with newlines, each made printable on its own.
  void results(std::string_view lines);
  // JSON and other bytes for programs: written as they are, with a newline.
  void raw_result(std::string_view line);
  bool lost_results();  // flushes; whether anything of stdout could not be written

  // One line to stderr: "shardswarm: error: …" for kError, "warning: …" and so on for others, the
  // bare text for kNote.
  void message(LineKind kind, std::string_view text);
  void note(std::string_view text) { message(LineKind::kNote, text); }
  // One line to stderr that asks for what is to be typed next: written with `quiet`, too.
  void ask(std::string_view text);

  // Shows how far the command is; at most ten times a second. The last one before end_status()
  // stays on the terminal.
  void status(const Status& status);
  void end_status();

 private:
  std::string shown(std::string_view text) const;
  void write_result(std::string_view line);
  void write_error(std::string_view text);
  void clear_status();
  void draw_status();

  std::mutex mutex_;
  bool quiet_ = false;
  bool utf8_;
  bool terminal_;  // stderr is one
  bool colours_;
  bool redraws_;
  bool lost_results_ = false;
  bool drawn_ = false;
  Status last_status_;
  std::chrono::steady_clock::time_point last_;
};

}  // namespace shardswarm::cli
