#include "wire/channels.h"

#include <fmt/format.h>

#include <cassert>
#include <utility>

#include "wire/frame.h"

namespace shardswarm {

const Channels::Model* Channels::find(Channel channel) const {
  if (channel.value == 0 || channel.value > models_.size()) return nullptr;
  return &models_[channel.value - 1U];
}

Channel Channels::channel_of(const ModelId& id) {
  const auto next = static_cast<std::uint16_t>(models_.size() + 1);
  const auto [it, added] = by_id_.try_emplace(id, Channel(next));
  if (added) models_.push_back({.id = id});
  return it->second;
}

// --- ours ---

bool Channels::may_open(const ModelId& id) const {
  const auto known = by_id_.find(id);
  return declared_ < limits::kModelsPerConnectionMax ||
         (known != by_id_.end() && declared(known->second));
}

Channels::Opened Channels::open(const ModelId& id) {
  const Channel channel = channel_of(id);
  Model& model = at(channel);
  if (model.announced) return {.channel = channel};
  if (!model.declared) {
    assert(declared_ < limits::kModelsPerConnectionMax);
    ++declared_;
  }
  model.declared = model.announced = true;
  return {.channel = channel, .news = true};
}

bool Channels::give_up(Channel channel) {
  assert(find(channel) != nullptr);
  Model& model = at(channel);
  model.announced = false;
  return model.peer_declared;
}

bool Channels::declared(Channel channel) const {
  const Model* model = find(channel);
  return model != nullptr && model->declared;
}

// --- the peer's ---

Result<Channel> Channels::peer_opens(std::uint16_t handle, const ModelId& id) {
  const auto before = of_peer_handle(handle);
  if (before && at(*before).id != id) {
    return fail(Errc::kProtocol, fmt::format("OPEN of handle {} for a second model", handle));
  }
  if (!before && by_peer_handle_.size() == limits::kModelsPerConnectionMax) {
    return fail(Errc::kProtocol,
                fmt::format("OPEN of more than {} models", limits::kModelsPerConnectionMax));
  }
  const auto known = by_id_.find(id);
  if (!before && known != by_id_.end() && at(known->second).peer_declared) {
    return fail(Errc::kProtocol, fmt::format("OPEN of a model with a second handle, {}", handle));
  }
  const Channel channel = channel_of(id);
  by_peer_handle_[handle] = channel;
  at(channel).peer_open = at(channel).peer_declared = true;
  return channel;
}

Result<Channel> Channels::peer_gives_up(const ModelId& id) {
  const auto known = by_id_.find(id);
  if (known == by_id_.end() || !at(known->second).declared) {
    return fail(Errc::kProtocol, "UNKNOWN_MODEL for a model that was not opened");
  }
  at(known->second).peer_open = false;
  return known->second;
}

std::optional<Channel> Channels::of_peer_handle(std::uint16_t handle) const {
  const auto it = by_peer_handle_.find(handle);
  if (it == by_peer_handle_.end()) return std::nullopt;
  return it->second;
}

bool Channels::peer_opened(Channel channel) const {
  const Model* model = find(channel);
  return model != nullptr && model->peer_open;
}

std::optional<ModelId> Channels::model_of(Channel channel) const {
  const Model* model = find(channel);
  if (model == nullptr) return std::nullopt;
  return model->id;
}

}  // namespace shardswarm
