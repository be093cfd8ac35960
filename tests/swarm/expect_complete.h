// What holds of a fetch that ended well.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <string_view>

#include "tests/swarm/virtual_swarm.h"

namespace shardswarm::test {

inline void expect_complete(const VirtualSwarm::Node& node, std::string_view what) {
  ASSERT_TRUE(node.ended) << what;
  ASSERT_FALSE(node.error) << what << ": " << node.error->message;
  const ModelStatus status = node.core->status(node.key);
  EXPECT_EQ(status.present_bytes, status.wanted_bytes) << what;
  for (const auto& [piece, content] : node.got) {
    const auto right = node.model->piece(piece);
    EXPECT_TRUE(std::equal(right.begin(), right.end(), content.begin(), content.end())) << what;
  }
  EXPECT_EQ(status.fetched_bytes - status.duplicate_bytes,
            status.wanted_bytes - status.reused_bytes)
      << what;
}

}  // namespace shardswarm::test
