// The files of a directory as a manifest has them: opened, with the headers of their safetensors
// and their kinds. Nothing is hashed yet.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/file.h"
#include "piece/manifest.h"

namespace shardswarm {

struct ModelFile {
  std::string path;  // as in the manifest
  std::filesystem::path location;
  Fd fd;
  FileIdentity identity;
  FileKind kind = FileKind::kPlain;
  std::vector<TensorIndex> copies;  // as FileEntry::copies
  Blob header;                      // null of plain files
  std::vector<TensorInfo> tensors;  // in the order of the manifest
};

struct ModelFiles {
  std::vector<ModelFile> files;       // by path bytes
  std::vector<std::string> warnings;  // one line each: what is left out, odd or out of date
};

// Walks the directory and reads headers and indexes. Blocks. What is not needed and cannot be read
// as what it should be is named in the warnings. Errors, naming the file: kNotFound and kLimit as
// walk_model(), kMalformed when weights that the model needs are missing or damaged or when all
// that is there are Git LFS pointers, kIo.
Result<ModelFiles> find_model_files(const std::filesystem::path& directory);

}  // namespace shardswarm
