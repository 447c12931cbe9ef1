#include "core/names.h"

#include <algorithm>
#include <charconv>
#include <random>

#include "core/error.h"

namespace gcr {
namespace {

bool is_hex(std::string_view text, size_t digits) {
  return text.size() == digits && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

bool is_hex_with(std::string_view text, size_t digits, std::string_view suffix) {
  return text.ends_with(suffix) && is_hex(text.substr(0, text.size() - suffix.size()), digits);
}

bool is_temporary(std::string_view base) {
  return base.size() > 4 && base.size() <= 200 && base.ends_with(".tmp") && base.front() != '.' &&
         std::all_of(base.begin(), base.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == '_' ||
                  c == '-';
         });
}

}  // namespace

SplitName split_name(std::string_view name) {
  const size_t slash = name.find('/');
  if (slash == std::string_view::npos) return {"", name};
  return {name.substr(0, slash), name.substr(slash + 1)};
}

std::optional<NameForm> name_form(std::string_view name) {
  const auto [folder, base] = split_name(name);
  const bool in_folder = folder.size() + base.size() < name.size();
  if (in_folder && std::find(std::begin(kFolders), std::end(kFolders), folder) == std::end(kFolders)) return {};
  if (is_temporary(base)) return NameForm::temporary;
  if (!in_folder) return base == "store.json" ? std::optional(NameForm::store_json) : std::nullopt;
  if (folder == "packs" && is_hex_with(base, 16, ".pack")) return NameForm::pack;
  if (folder == "index" && is_hex_with(base, 16, ".index")) return NameForm::index;
  if (folder == "manifests" && is_hex_with(base, 16, ".json")) return NameForm::manifest;
  if (folder == "manifests" && is_hex_with(base, 32, ".map")) return NameForm::map;
  if (name == kLockName) return NameForm::lock;
  return {};
}

NameForm checked_name(std::string_view name) {
  const auto form = name_form(name);
  if (!form) throw StoreError(ErrorKind::invalid, name.substr(0, 100), "this is not the name of a file of a store");
  return *form;
}

std::string hex_number(uint64_t number) {
  char text[16];
  const auto end = std::to_chars(text, text + 16, number, 16).ptr;
  return std::string(16 - (end - text), '0') + std::string(text, end);
}

std::string pack_name(uint64_t number) { return "packs/" + hex_number(number) + ".pack"; }
std::string index_name(uint64_t number) { return "index/" + hex_number(number) + ".index"; }

uint64_t number_of(std::string_view name) {
  const std::string_view base = split_name(name).base;
  uint64_t number = 0;
  std::from_chars(base.data(), base.data() + std::min<size_t>(16, base.size()), number, 16);
  return number;
}

uint64_t random_number() {
  static thread_local std::random_device source;
  uint64_t number = 0;
  while (number == 0) number = static_cast<uint64_t>(source()) << 32 | source();
  return number;
}

}  // namespace gcr
