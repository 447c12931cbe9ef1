// The names that a store may have. Nothing outside these forms is ever opened, made or removed, so a name that comes out of a file or
// from a caller cannot lead out of the store's folder.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace gcr {

enum class NameForm { store_json, pack, index, manifest, map, lock, temporary };

/// The form of a name relative to the store's folder; nothing when it is no name of a store.
std::optional<NameForm> name_form(std::string_view name);

/// The form; throws `invalid` when it is none.
NameForm checked_name(std::string_view name);

/// Folder of a checked name ("" for the store's own) and the rest.
struct SplitName {
  std::string_view folder;
  std::string_view base;
};
SplitName split_name(std::string_view name);

constexpr std::string_view kFolders[] = {"packs", "index", "manifests", "locks"};
constexpr std::string_view kLockName = "locks/store";

std::string hex_number(uint64_t number);
std::string pack_name(uint64_t number);
std::string index_name(uint64_t number);
/// Number in the name of a pack or an index file; the name must have that form.
uint64_t number_of(std::string_view name);

/// Random and never zero.
uint64_t random_number();

}  // namespace gcr
