// What every backend must do, over both; and what only a folder can get wrong.
#include "core/backend.h"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "core/aligned_buffer.h"
#include "core/test/check.h"

namespace gcr::test {
namespace {

const std::string kManifest = "manifests/0123456789abcdef.json";

Bytes text(const std::string& value) { return Bytes(value.begin(), value.end()); }

TEST(names_are_the_forms_of_the_document_and_nothing_else) {
  const std::string hex16 = "0123456789abcdef";
  CHECK(name_form("store.json") == NameForm::store_json);
  CHECK(name_form("packs/" + hex16 + ".pack") == NameForm::pack);
  CHECK(name_form("index/" + hex16 + ".index") == NameForm::index);
  CHECK(name_form("manifests/" + hex16 + ".json") == NameForm::manifest);
  CHECK(name_form("manifests/" + hex16 + hex16 + ".map") == NameForm::map);
  CHECK(name_form("locks/store") == NameForm::lock);
  CHECK(name_form("packs/" + hex16 + ".pack.00.tmp") == NameForm::temporary);
  CHECK(name_form("store.json.1.tmp") == NameForm::temporary);
  const std::vector<std::string> bad_names{
      "", "/", "packs/", "packs", "..", "../store.json", "packs/../store.json", "packs/0123456789ABCDEF.pack",
      "packs/" + hex16 + ".index", "packs/" + hex16 + "0.pack", "packs//" + hex16 + ".pack", "/packs/" + hex16 + ".pack",
      "./packs/" + hex16 + ".pack", "packs/" + hex16 + ".pack/", "manifests/" + hex16 + ".map", "locks/" + hex16, hex16 + ".pack",
      "x/a.tmp", "packs/.tmp", "packs/../a.tmp", "packs/a/b.tmp", "../a.tmp", "packs/..tmp", std::string("packs/a\0.tmp", 12)};
  for (const std::string& bad : bad_names) {
    if (name_form(bad)) fail(__FILE__, __LINE__, "taken as a name: " + bad);
  }
  CHECK(number_of(pack_name(0x0123456789abcdef)) == 0x0123456789abcdef);
  CHECK(pack_name(10) == "packs/000000000000000a.pack");
}

TEST(put_and_get_are_whole_and_atomic) {
  on_every_backend([](const std::shared_ptr<Backend>& backend) {
    CHECK(!backend->stat(kManifest));
    CHECK_FAILS(not_found, backend->get(kManifest, 100));
    backend->put(kManifest, text("one"), PutMode::create);
    CHECK(backend->get(kManifest, 3) == text("one"));
    CHECK_FAILS(exists, backend->put(kManifest, text("two"), PutMode::create));
    CHECK(backend->get(kManifest, 3) == text("one"));
    backend->put(kManifest, text("three"), PutMode::replace);
    CHECK(backend->get(kManifest, 5) == text("three"));
    CHECK_FAILS(invalid, backend->get(kManifest, 4));
    CHECK(backend->stat(kManifest)->bytes == 5);
    CHECK(backend->stat(kManifest)->modified > 1.6e12);
    CHECK(backend->list("manifests") == std::vector<std::string>{kManifest});
    backend->put("store.json", {}, PutMode::create);
    CHECK(backend->get("store.json", 0).empty());
    backend->remove(kManifest);
    backend->remove(kManifest);
    CHECK(backend->list("manifests").empty());
  });
}

TEST(what_is_given_up_leaves_nothing) {
  on_every_backend([](const std::shared_ptr<Backend>& backend) {
    const std::string name = pack_name(7);
    {
      const auto file = backend->create(name, Access::large);
      AlignedBuffer block(kBlockBytes);
      file->write(0, block.data(), block.size());
      CHECK(!backend->stat(name));
    }
    CHECK(backend->list("packs").empty());
  });
}

TEST(names_outside_are_refused_everywhere) {
  on_every_backend([](const std::shared_ptr<Backend>& backend) {
    CHECK_FAILS(invalid, backend->get("../x", 1));
    CHECK_FAILS(invalid, backend->put("packs/../../x", {}, PutMode::replace));
    CHECK_FAILS(invalid, backend->remove("/etc/passwd"));
    CHECK_FAILS(invalid, backend->stat("packs"));
    CHECK_FAILS(invalid, backend->list(".."));
    CHECK_FAILS(invalid, backend->remove("locks/store"));
    CHECK_FAILS(invalid, backend->put("packs/a.tmp", {}, PutMode::replace));
  });
}

TEST(locks_exclude_and_time_out) {
  on_every_backend([](const std::shared_ptr<Backend>& backend) {
    auto one = backend->lock(LockMode::shared, 0, nullptr);
    auto two = backend->lock(LockMode::shared, 0, nullptr);
    CHECK_FAILS(locked, backend->lock(LockMode::exclusive, 10, nullptr));
    one.reset();
    CHECK_FAILS(locked, backend->lock(LockMode::exclusive, 0, nullptr));
    std::thread later([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(30));
      two.reset();
    });
    const auto alone = backend->lock(LockMode::exclusive, 10000, nullptr);
    later.join();
    CHECK_FAILS(locked, backend->lock(LockMode::shared, 0, nullptr));
    const std::atomic<bool> cancelled = true;
    CHECK_FAILS(locked, backend->lock(LockMode::shared, 60000, &cancelled));
  });
}

TEST(a_lock_error_names_who_holds_it) {
  const TemporaryFolder folder;
  const auto backend = open_directory_backend(folder.path(), true);
  const auto held = backend->lock(LockMode::exclusive, 0, nullptr);
  try {
    backend->lock(LockMode::shared, 0, nullptr);
    CHECK(false);
  } catch (const StoreError& error) {
    CHECK(std::string(error.what()).find("process " + std::to_string(::getpid())) != std::string::npos);
  }
}

TEST(a_folder_that_is_no_store_is_refused) {
  const TemporaryFolder folder;
  CHECK_FAILS(not_found, open_directory_backend(folder.path(), false));
  std::filesystem::create_directory(folder.path());
  CHECK_FAILS(not_found, open_directory_backend(folder.path(), false));
  std::ofstream(folder / "packs") << "a file";
  CHECK_FAILS(damaged, open_directory_backend(folder.path(), true));
  CHECK_FAILS(not_found, open_memory_backend("nobody made this", false));
  open_directory_backend(folder / "a/b/c", true);
  open_directory_backend(folder / "a/b/c", false);
}

TEST(links_and_special_files_are_refused) {
  const TemporaryFolder folder;
  auto backend = open_directory_backend(folder.path(), true);
  std::ofstream(folder / "outside") << "secret";
  std::filesystem::create_symlink(folder / "outside", folder / kManifest);
  CHECK_FAILS(damaged, backend->get(kManifest, 100));
  CHECK_FAILS(damaged, backend->stat(kManifest));
  backend->put(kManifest, text("ours"), PutMode::replace);
  CHECK(std::ifstream(folder / "outside").get() == 's');
  CHECK(backend->get(kManifest, 100) == text("ours"));
  CHECK(::mkfifo((folder / "store.json").c_str(), 0600) == 0);
  CHECK_FAILS(damaged, backend->get("store.json", 100));
  std::filesystem::remove(folder / "packs");
  std::filesystem::create_directory_symlink(folder / "manifests", folder / "packs");
  CHECK_FAILS(damaged, open_directory_backend(folder.path(), false));
}

TEST(foreign_files_are_listed_but_not_touched) {
  const TemporaryFolder folder;
  const auto backend = open_directory_backend(folder.path(), true);
  std::ofstream(folder / "packs/README") << "x";
  std::ofstream(folder / "packs/old.tmp") << "x";
  std::filesystem::create_directory(folder / "packs/folder");
  CHECK(backend->list("packs") == std::vector<std::string>({"packs/README", "packs/old.tmp"}));
  CHECK_FAILS(invalid, backend->remove("packs/README"));
  backend->remove("packs/old.tmp");
  CHECK(backend->list("packs") == std::vector<std::string>{"packs/README"});
}

TEST(large_files_are_read_and_written_in_pieces) {
  on_every_backend([](const std::shared_ptr<Backend>& backend) {
    Random random(4);
    AlignedBuffer buffer(1500 * kBlockBytes);
    for (size_t i = 0; i < buffer.size(); i += 8) {
      const uint64_t value = random.next();
      std::memcpy(buffer.data() + i, &value, 8);
    }
    // More pieces than one call of the system takes.
    std::vector<iovec> pieces;
    for (size_t i = 0; i < 1500; ++i) pieces.push_back({buffer.data() + (1499 - i) * kBlockBytes, kBlockBytes});
    const auto file = backend->create(pack_name(9), Access::large);
    file->write(0, pieces);
    file->commit(PutMode::create);
    AlignedBuffer copy(buffer.size());
    const auto input = backend->open(pack_name(9), Access::large);
    CHECK(input->size() == buffer.size());
    pieces.clear();
    for (size_t i = 0; i < 1500; ++i) pieces.push_back({copy.data() + (1499 - i) * kBlockBytes, kBlockBytes});
    input->read(0, pieces);
    CHECK(std::memcmp(buffer.data(), copy.data(), copy.size()) == 0);
    CHECK(std::memcmp(input->map(), copy.data() + 1499 * kBlockBytes, kBlockBytes) == 0);
    CHECK_FAILS(damaged, input->read(buffer.size() - kBlockBytes, copy.data(), 2 * kBlockBytes));
  });
}

}  // namespace
}  // namespace gcr::test
