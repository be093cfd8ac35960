// A directory that goes away with its object.
#pragma once

#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

namespace shardswarm::test {

class TempDir {
 public:
  TempDir();  // below the system's temporary directory, unique
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

void write_file(const std::filesystem::path& file, std::span<const std::byte> bytes);
void write_file(const std::filesystem::path& file, std::string_view text);
std::vector<std::byte> read_file(const std::filesystem::path& file);

}  // namespace shardswarm::test
