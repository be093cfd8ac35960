#include "piece/file_roles.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <set>

#include "base/limits.h"
#include "base/text.h"
#include "piece/selection_parts.h"

namespace shardswarm {
namespace {

// Weights of other formats, by the ending of the name in lower case.
constexpr std::array<std::string_view, 42> kWeightEndings = {
    // PyTorch, and what is saved beside it in training; NeMo; PaddlePaddle.
    ".bin", ".pt", ".pth", ".pt2", ".ckpt", ".pkl", ".pickle", ".nemo", ".distcp", ".pdparams",
    ".pdmodel", ".pdiparams", ".pdopt",
    // TensorFlow, Keras, Flax, numpy, Rust.
    ".h5", ".hdf5", ".keras", ".pb", ".msgpack", ".npz", ".ot",
    // llama.cpp and its relatives.
    ".gguf", ".ggml", ".llamafile",
    // ONNX with its external data, which models beyond 2 GB have.
    ".onnx", ".onnx_data", ".onnx.data", ".ort",
    // Phones and accelerators.
    ".tflite", ".task", ".litertlm", ".mlmodel", ".pte", ".mnn", ".rten", ".rknn", ".dlc",
    ".engine", ".plan", ".trt",
    // Diffusers in one file; MXNet; Burn.
    ".dduf", ".params", ".mpk"};
// Folders that are a model of another format as a whole: Core ML.
constexpr std::array<std::string_view, 2> kWeightFolders = {".mlpackage", ".mlmodelc"};
// Descriptions that are weights' other half if STEM.bin stands beside them: OpenVINO, ncnn.
constexpr std::array<std::string_view, 2> kPairedWithBin = {".xml", ".param"};
// Lists of the weight files of another format, which mean nothing without these: MLC.
constexpr std::array<std::string_view, 3> kWeightLists = {
    "ndarray-cache.json", "ndarray-cache-b16.json", "tensor-cache.json"};

// What loaders read beside the weights: mlx-lm, vLLM and transformers ask for files by these
// endings. A tokenizer.json of 256,000 words takes 30 to 70 MiB.
constexpr std::array<std::string_view, 9> kConfigurationEndings = {
    ".json", ".txt", ".model", ".tiktoken", ".jinja", ".py", ".yaml", ".yml", ".vocab"};
constexpr std::string_view kTokenizer = "tokenizer";

std::string lower(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return result;
}

template <std::size_t N>
bool ends_with_any(std::string_view text, const std::array<std::string_view, N>& endings) {
  return std::ranges::any_of(endings,
                             [&](std::string_view ending) { return text.ends_with(ending); });
}

std::string_view name_of(std::string_view path) { return path.substr(folder_of(path).size()); }

// "model.onnx_data_3" -> "model.onnx_data", "model.ckpt.data-00000-of-00001" -> "model.ckpt":
// numbered parts and TensorFlow's index beside its data.
std::string_view without_part_number(std::string_view name) {
  for (const std::string_view mark : {".data-", ".index", ".meta"}) {
    const std::size_t at = name.rfind(mark);
    if (at == std::string_view::npos || at == 0) continue;
    const std::string_view stem = name.substr(0, at);
    if (stem.find(".ckpt") != std::string_view::npos) return name.substr(0, name.find(".ckpt") + 5);
  }
  const std::size_t last = name.find_last_not_of("0123456789");
  if (last != std::string_view::npos && last + 1 < name.size() && name[last] == '_' &&
      name.substr(0, last).ends_with(".onnx_data")) {
    return name.substr(0, last);
  }
  return name;
}

bool in_weight_folder(std::string_view path) {
  std::string_view folder = folder_of(path);
  while (!folder.empty()) {
    folder.remove_suffix(1);
    if (ends_with_any(folder, kWeightFolders)) return true;
    folder = folder_of(folder);
  }
  return false;
}

// TensorFlow's SavedModel keeps its numbers as variables/variables.{index,data-00000-of-00001}.
bool of_saved_model(std::string_view path) {
  return folder_of(path).ends_with("variables/") && name_of(path).starts_with("variables.");
}

// `paths`: of all files, in lower case.
bool is_other_format(std::string_view path, const std::set<std::string>& paths) {
  const std::string_view name = name_of(path);
  const std::string_view stem = path.substr(0, std::min(path.rfind('.'), path.size()));
  const auto beside = [&](std::string_view ending) {
    return paths.contains(std::string(stem) + std::string(ending));
  };
  // A tokenizer.bin is a table of words for llama2.c and the like, unless it is half of a pair.
  const bool words = name.starts_with(kTokenizer) && name.ends_with(".bin") &&
                     std::ranges::none_of(kPairedWithBin, beside);
  if (words) return false;
  if (ends_with_any(without_part_number(name), kWeightEndings)) return true;
  if (in_weight_folder(path) || of_saved_model(path)) return true;
  if (std::ranges::find(kWeightLists, name) != kWeightLists.end()) return true;
  // "pytorch_model.bin.index.json" says in which of the .bin files each tensor is.
  constexpr std::string_view kIndex = ".index.json";
  if (name.ends_with(kIndex)) {
    return ends_with_any(name.substr(0, name.size() - kIndex.size()), kWeightEndings);
  }
  // Exporters name the external data of single tensors so, without an ending.
  if (name.starts_with("onnx__")) return true;
  return ends_with_any(path, kPairedWithBin) && beside(".bin");
}

FileRole plain_role(const FileEntry& file, const std::set<std::string>& paths) {
  const std::string path = lower(file.path);
  if (is_other_format(path, paths)) return FileRole::kOtherFormat;
  const std::string_view name = name_of(path);
  if (name.starts_with(kTokenizer) || ends_with_any(name, kConfigurationEndings)) {
    return FileRole::kConfiguration;
  }
  return file.size > limits::kSmallFileBytesMax ? FileRole::kLarge : FileRole::kSmall;
}

// The glob that names this file and those that are left out for the same reason.
std::string glob_for(const LeftOut& file) {
  const std::string_view name = name_of(file.path);
  const std::size_t dot = name.rfind('.');
  // A name without an ending, and one of a single file among others, is named itself.
  if (file.why != WhyLeftOut::kOtherFormat || dot == std::string_view::npos) {
    std::string glob;
    for (const char c : file.path) {
      const bool special = c == '*' || c == '?' || c == '[';
      glob += special ? std::string{'[', c, ']'} : std::string{c};
    }
    return glob;
  }
  return "*" + std::string(name.substr(dot));
}

std::string flags_that_bring(const std::vector<LeftOut>& files) {
  constexpr std::size_t kFlagsMax = 4;  // that are worth reading
  std::vector<std::string> flags;
  for (const LeftOut& file : files) {
    const bool component = file.why == WhyLeftOut::kComponent;
    const std::string flag =
        component ? "--tensors " + shell_quoted(std::string(folder_of(file.path)) + "*")
                  : "--files " + shell_quoted(glob_for(file));
    if (std::ranges::find(flags, flag) == flags.end()) flags.push_back(flag);
    if (flags.size() > kFlagsMax) return "--files '*'";
  }
  std::string text;
  for (const std::string& flag : flags) text += (text.empty() ? "" : " ") + flag;
  return text;
}

}  // namespace

std::vector<FileRole> file_roles(const ManifestRoot& root) {
  std::set<std::string> paths;
  for (const FileEntry& file : root.files) paths.insert(lower(file.path));
  std::vector<FileRole> roles;
  roles.reserve(root.files.size());
  for (const FileEntry& file : root.files) {
    roles.push_back(file.kind == FileKind::kTensors        ? FileRole::kTensors
                    : file.kind == FileKind::kSpareTensors ? FileRole::kSecondCopy
                                                           : plain_role(file, paths));
  }
  return roles;
}

bool has_weights(const ManifestRoot& root) {
  return std::ranges::any_of(file_roles(root), [](FileRole role) {
    return role == FileRole::kTensors || role == FileRole::kSecondCopy ||
           role == FileRole::kOtherFormat;
  });
}

LeftOutReport report_left_out(const ResolvedSelection& resolved, const Manifest& manifest,
                              const PieceSet& here) {
  LeftOutReport report;
  report.files.reserve(resolved.left_out.size());
  for (const LeftOutFile& left : resolved.left_out) {
    const FileEntry& file = manifest.file(left.file);
    PieceSet missing(manifest.piece_count());
    missing.insert(PieceRun{manifest.first_piece(left.file), file.pieces});
    if (!missing.empty() && (missing - here).empty()) continue;
    report.files.push_back({.path = file.path, .bytes = file.size, .why = left.why});
    report.bytes += file.size;
  }
  report.flags = flags_that_bring(report.files);
  return report;
}

std::string_view why_name(WhyLeftOut why) {
  switch (why) {
    case WhyLeftOut::kOtherFormat:
      return "other_format";
    case WhyLeftOut::kLarge:
      return "large";
    case WhyLeftOut::kSecondCopy:
      return "second_copy";
    case WhyLeftOut::kComponent:
      break;
  }
  return "component";
}

std::string_view why_text(WhyLeftOut why) {
  switch (why) {
    case WhyLeftOut::kOtherFormat:
      return "weights of another format";
    case WhyLeftOut::kLarge:
      return "larger than 64 MiB";
    case WhyLeftOut::kSecondCopy:
      return "a second copy of the weights";
    case WhyLeftOut::kComponent:
      break;
  }
  return "tensors of another component";
}

}  // namespace shardswarm
