// The network interfaces of this machine.
#pragma once

#include <string>
#include <vector>

namespace shardswarm {

// Addresses of this machine that others may dial: of interfaces that are up, without link-local
// ones; loopback only if there is nothing else. IPv4 first; at most kAddressesMax.
std::vector<std::string> usable_addresses();
// All of both if they are at most kAddressesMax, IPv4 first. If they are more, each family keeps
// half of the places, or as many as the other leaves.
std::vector<std::string> some_of_both(std::vector<std::string> v4, std::vector<std::string> v6);

}  // namespace shardswarm
