// Fetches that get on no more: when they end, and what they say of it.
//
// Not thread-safe. Time is handed in.
#pragma once

#include <optional>
#include <string>

#include "base/error.h"
#include "base/time.h"

namespace shardswarm {

class AddressBook;
struct Context;
struct Link;
struct Model;

class StallWatch {
 public:
  StallWatch(const Context& context, const AddressBook& addresses)
      : context_(context), addresses_(addresses) {}

  // Why the fetch ends now; nothing while it may go on. `reads`: our own rate limit lets more in.
  // REQUIRES: the fetch has not ended.
  std::optional<Error> check(Model& model, bool reads, Time now) const;
  // When check() is to be called at the latest. REQUIRES: as check().
  static std::optional<Time> next_deadline(const Model& model);

  // What peers that are connected do not have, as a clause of a message; empty if it is not known.
  std::string lacking(const Model& model) const;
  // Whether nobody answers yet, and no peer ever had the model. REQUIRES: as check().
  bool awaits_source(const Model& model) const;

 private:
  bool denies(const Link& link, const Model& model) const;
  bool nobody_has(Model& model, Time now) const;
  Error unreached_error(const Model& model, Time now) const;
  Error stalled_error(const Model& model, Time now) const;

  const Context& context_;
  const AddressBook& addresses_;
};

}  // namespace shardswarm
