// Models that nobody asked for here: served for the pieces that other models of this machine have
// in common with them. A peer opens such a model, says what it wants, and is asked for the parts of
// the manifest that tell of it. What a peer can make us keep and do is bounded by the limits at the
// head of shared_models.cc, and by kSharedEarlyRunsMax.
//
// Not thread-safe. Time is handed in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "base/ids.h"
#include "base/time.h"
#include "piece/digest.h"
#include "piece/piece_set.h"
#include "swarm/actions.h"

namespace shardswarm {

struct Context;
struct Link;
struct Model;
class Meetings;

// Runs of a WANT that are kept until the manifest tells what they mean.
inline constexpr std::size_t kSharedEarlyRunsMax = std::size_t{1} << 16;

class SharedModels {
 public:
  SharedModels(Context& context, Meetings& meetings) : context_(context), meetings_(meetings) {}

  // A peer opened a model that is not here. It is opened in return, so that the peer says what it
  // wants; more is learned only then. Null when it may not be shared.
  Model* add(Link& link, const ModelId& id, Time now);
  // A peer wants these pieces, which lie within the model if its manifest is known. Before the root
  // is known they say nothing: its WANT is looked at again then.
  void wanted(Model& model, std::span<const PieceRun> pieces);
  // What was asked for of the manifest came.
  void manifest_known(Model& model, Time now);
  // `have`: all that was found of it here so far.
  void found(Model& model, const PieceSet& have, Time now);
  void end(Model& model, bool nothing_found, Time now);
  // Ends those that no connected peer wants anything of any more, or whose manifest does not come.
  // One of which nothing was learned costs nothing, and waits for its peers' first WANT.
  void end_left(Time now);

 private:
  void learn(Model& model, std::vector<FileIndex> files);
  void look_for(Model& model, std::span<const PieceRun> pieces);
  void look_on(Model& model);
  bool admit(Model& model, std::uint64_t bytes);
  bool is_left(const Model& model) const;

  Context& context_;
  Meetings& meetings_;
  std::map<ModelId, Time> nothing_shared_;  // since when
};

}  // namespace shardswarm
