// A store in a folder. Every file is opened relative to the descriptor of its folder, without following symbolic links, and must be a
// regular file. Folders' descriptors are taken once, so renaming the store while it is open does no harm.
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>
#include <utility>

#include "core/aligned_buffer.h"
#include "core/backend.h"
#include "core/error.h"
#include "core/names.h"

namespace gcr {
namespace {

constexpr long kTmpfsMagic = 0x01021994;
constexpr size_t kMostPieces = 1024;  // IOV_MAX of Linux

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_ = -1;
};

template <class Call>
auto retried(Call call) {
  for (;;) {
    const auto result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

Descriptor open_at(int folder, const char* name, int flags, mode_t mode, std::string_view shown) {
  const int fd = retried([&] { return ::openat(folder, name, flags | O_CLOEXEC | O_NOFOLLOW, mode); });
  if (fd < 0) throw_errno(errno, "open", shown);
  return Descriptor(fd);
}

bool is_on_memory(int fd) {
  struct statfs info{};
  return ::fstatfs(fd, &info) == 0 && info.f_type == kTmpfsMagic;
}

/// Switches direct I/O on. Where the file system does not have it, and on tmpfs where it is only a detour, the page cache is used.
bool switch_direct(int fd, bool on) {
  const int flags = ::fcntl(fd, F_GETFL);
  return flags >= 0 && ::fcntl(fd, F_SETFL, on ? flags | O_DIRECT : flags & ~O_DIRECT) == 0;
}

/// Runs preadv or pwritev until all pieces are done; `call(pieces, count, offset)`. Returns false at the end of the file.
template <class Call>
bool transfer(std::span<iovec> pieces, uint64_t offset, int fd, bool& direct, std::string_view action,
              std::string_view file, Call call) {
  while (!pieces.empty()) {
    const size_t count = std::min(pieces.size(), kMostPieces);
    const ssize_t done = retried([&] { return call(pieces.data(), static_cast<int>(count), static_cast<off_t>(offset)); });
    if (done < 0) {
      // Direct I/O with a larger unit than ours: go through the page cache.
      if (errno == EINVAL && direct && switch_direct(fd, false)) {
        direct = false;
        continue;
      }
      throw_errno(errno, action, file);
    }
    if (done == 0) return false;
    offset += static_cast<uint64_t>(done);
    size_t left = static_cast<size_t>(done);
    while (left > 0 && left >= pieces.front().iov_len) {
      left -= pieces.front().iov_len;
      pieces = pieces.subspan(1);
    }
    while (!pieces.empty() && pieces.front().iov_len == 0) pieces = pieces.subspan(1);
    if (left > 0) {
      pieces.front().iov_base = static_cast<uint8_t*>(pieces.front().iov_base) + left;
      pieces.front().iov_len -= left;
      // A transfer that ended inside a block cannot go on directly.
      if (direct && left % kBlockBytes != 0 && switch_direct(fd, false)) direct = false;
    }
  }
  return true;
}

class DirectoryInput final : public InputFile {
 public:
  DirectoryInput(int folder, const char* base, std::string name, Access access)
      : name_(std::move(name)), fd_(open_at(folder, base, O_RDONLY | O_NONBLOCK, 0, name_)) {
    struct stat info{};
    if (::fstat(fd_.get(), &info) != 0) throw_errno(errno, "look at", name_);
    if (!S_ISREG(info.st_mode)) throw StoreError(ErrorKind::damaged, name_, "is not a regular file");
    size_ = static_cast<uint64_t>(info.st_size);
    if (access == Access::large) direct_ = !is_on_memory(fd_.get()) && switch_direct(fd_.get(), true);
    aligned_ = direct_;
  }

  ~DirectoryInput() override {
    if (mapped_ != nullptr) ::munmap(mapped_, size_);
  }

  uint64_t size() const override { return size_; }
  bool wants_alignment() const override { return aligned_; }

  void read(uint64_t offset, std::span<iovec> pieces) override {
    bool direct = direct_;
    const bool whole = transfer(pieces, offset, fd_.get(), direct, "read", name_, [&](iovec* v, int n, off_t at) {
      return ::preadv(fd_.get(), v, n, at);
    });
    if (!direct) direct_ = false;
    if (!whole) throw StoreError(ErrorKind::damaged, name_, "ends before its content");
  }

  const uint8_t* map() override {
    if (mapped_ == nullptr && size_ > 0) {
      void* const at = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, fd_.get(), 0);
      if (at == MAP_FAILED) throw_errno(errno, "map", name_);
      mapped_ = at;
    }
    return static_cast<const uint8_t*>(mapped_);
  }

 private:
  std::string name_;
  Descriptor fd_;
  uint64_t size_ = 0;
  std::atomic<bool> direct_ = false;
  bool aligned_ = false;
  void* mapped_ = nullptr;
};

class DirectoryOutput final : public OutputFile {
 public:
  DirectoryOutput(int folder, std::string name, Access access) : folder_(folder), name_(std::move(name)) {
    base_ = std::string(split_name(name_).base);
    temporary_ = base_ + "." + hex_number(random_number()) + ".tmp";
    fd_ = open_at(folder, temporary_.c_str(), O_RDWR | O_CREAT | O_EXCL, 0666, name_);
    if (access == Access::large) direct_ = !is_on_memory(fd_.get()) && switch_direct(fd_.get(), true);
    aligned_ = direct_;
  }

  ~DirectoryOutput() override {
    if (!committed_) ::unlinkat(folder_, temporary_.c_str(), 0);
  }

  bool wants_alignment() const override { return aligned_; }

  void write(uint64_t offset, std::span<iovec> pieces) override {
    const bool whole = transfer(pieces, offset, fd_.get(), direct_, "write", name_, [&](iovec* v, int n, off_t at) {
      return ::pwritev(fd_.get(), v, n, at);
    });
    if (!whole) throw StoreError(ErrorKind::io, name_, "cannot write: the system took no byte");
  }

  void commit(PutMode mode) override {
    if (retried([&] { return ::fsync(fd_.get()); }) != 0) throw_errno(errno, "sync", name_);
    if (mode == PutMode::replace) {
      if (::renameat(folder_, temporary_.c_str(), folder_, base_.c_str()) != 0) throw_errno(errno, "rename", name_);
    } else if (::renameat2(folder_, temporary_.c_str(), folder_, base_.c_str(), RENAME_NOREPLACE) != 0) {
      if (errno != EINVAL && errno != ENOSYS) throw_errno(errno, "rename", name_);
      // A file system without that flag: a link does not replace either.
      if (::linkat(folder_, temporary_.c_str(), folder_, base_.c_str(), 0) != 0) throw_errno(errno, "rename", name_);
      ::unlinkat(folder_, temporary_.c_str(), 0);
    }
    committed_ = true;
  }

 private:
  int folder_;
  std::string name_;
  std::string base_;
  std::string temporary_;
  Descriptor fd_;
  bool direct_ = false;
  bool aligned_ = false;
  bool committed_ = false;
};

class DirectoryLock final : public Lock {
 public:
  explicit DirectoryLock(Descriptor fd) : fd_(std::move(fd)) {}

 private:
  Descriptor fd_;  // closing it releases the lock
};

/// Processes that hold a lock on the file, as "123 (name)", from the kernel's list.
std::string lock_holders(int fd) {
  struct stat info{};
  if (::fstat(fd, &info) != 0) return "";
  char place[64];
  std::snprintf(place, sizeof place, "%02x:%02x:%lu", major(info.st_dev), minor(info.st_dev),
                static_cast<unsigned long>(info.st_ino));
  std::string holders;
  std::ifstream locks("/proc/locks");
  for (std::string line; std::getline(locks, line);) {
    // 1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF; "->" in the second column marks one who waits
    std::istringstream fields(line);
    std::string number, kind, advice, mode, process, where;
    fields >> number >> kind >> advice >> mode >> process >> where;
    if (kind != "FLOCK" || where != place) continue;
    std::string command;
    std::ifstream comm("/proc/" + process + "/comm");
    std::getline(comm, command);
    if (!holders.empty()) holders += ", ";
    holders += "process " + process + (command.empty() ? "" : " (" + command + ")");
  }
  return holders;
}

class DirectoryBackend final : public Backend {
 public:
  DirectoryBackend(const std::string& path, bool create) : place_(path) {
    if (create) make_folders();
    const int root = retried([&] { return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
    if (root < 0) throw_errno(errno, "open the store", place_);
    root_ = Descriptor(root);
    for (size_t i = 0; i < folders_.size(); ++i) {
      const std::string folder(kFolders[i]);
      if (create && ::mkdirat(root, folder.c_str(), 0777) != 0 && errno != EEXIST) throw_errno(errno, "make", folder);
      const int fd =
          retried([&] { return ::openat(root, folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC); });
      if (fd < 0 && errno == ENOENT) {
        throw StoreError(ErrorKind::not_found, place_, "is not a store: it has no folder " + folder);
      }
      if (fd < 0) throw_errno(errno, "open", folder);
      folders_[i] = Descriptor(fd);
    }
    if (create) {
      open_lock(LockMode::exclusive);
      sync_folder("locks");
      sync_folder("");
    }
  }

  const std::string& place() const override { return place_; }

  std::unique_ptr<OutputFile> create(const std::string& name, Access access) override {
    refuse_temporary(name);
    return std::make_unique<DirectoryOutput>(folder_of(name), name, access);
  }

  std::unique_ptr<InputFile> open(const std::string& name, Access access) override {
    refuse_temporary(name);
    const std::string base(split_name(name).base);
    return std::make_unique<DirectoryInput>(folder_of(name), base.c_str(), name, access);
  }

  std::vector<std::string> list(const std::string& folder) override {
    const int fd =
        retried([&] { return ::openat(folder_fd(folder), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
    if (fd < 0) throw_errno(errno, "list", folder);
    const std::unique_ptr<DIR, int (*)(DIR*)> open_folder(::fdopendir(fd), ::closedir);
    if (!open_folder) {
      ::close(fd);
      throw_errno(errno, "list", folder);
    }
    std::vector<std::string> names;
    for (;;) {
      errno = 0;
      const dirent* const entry = ::readdir(open_folder.get());
      if (entry == nullptr) {
        if (errno != 0) throw_errno(errno, "list", folder);
        break;
      }
      if (entry->d_type == DT_DIR) continue;
      const std::string base = entry->d_name;
      if (base != "." && base != "..") names.push_back(folder.empty() ? base : folder + "/" + base);
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  std::optional<FileStat> stat(const std::string& name) override {
    checked_name(name);
    struct stat info{};
    const std::string base(split_name(name).base);
    if (::fstatat(folder_of(name), base.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) return {};
      throw_errno(errno, "look at", name);
    }
    if (!S_ISREG(info.st_mode)) throw StoreError(ErrorKind::damaged, name, "is not a regular file");
    return FileStat{static_cast<uint64_t>(info.st_size),
                    static_cast<double>(info.st_mtim.tv_sec) * 1000 + static_cast<double>(info.st_mtim.tv_nsec / 1000000)};
  }

  void remove(const std::string& name) override {
    if (checked_name(name) == NameForm::lock) throw StoreError(ErrorKind::invalid, name, "the lock is never removed");
    const std::string base(split_name(name).base);
    if (::unlinkat(folder_of(name), base.c_str(), 0) != 0 && errno != ENOENT) throw_errno(errno, "remove", name);
  }

  void sync_folder(const std::string& folder) override {
    if (retried([&] { return ::fsync(folder_fd(folder)); }) != 0) {
      throw_errno(errno, "sync", folder.empty() ? place_ : folder);
    }
  }

  std::unique_ptr<Lock> lock(LockMode mode, uint64_t timeout_ms, const std::atomic<bool>* cancelled) override {
    Descriptor fd = open_lock(mode);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
    auto pause = std::chrono::milliseconds(1);
    while (::flock(fd.get(), (mode == LockMode::shared ? LOCK_SH : LOCK_EX) | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK && errno != EINTR) throw_errno(errno, "lock", kLockName);
      if (std::chrono::steady_clock::now() >= deadline || (cancelled != nullptr && *cancelled)) {
        const std::string holders = lock_holders(fd.get());
        throw StoreError(ErrorKind::locked, kLockName,
                         "the store is in use" + (holders.empty() ? "" : " by " + holders));
      }
      std::this_thread::sleep_for(pause);
      pause = std::min(pause * 2, std::chrono::milliseconds(50));
    }
    return std::make_unique<DirectoryLock>(std::move(fd));
  }

 private:
  void make_folders() {
    // What is made is made durable in its parent, or a crash could take a store whose checkpoint was committed.
    std::vector<std::filesystem::path> missing;
    std::filesystem::path path = std::filesystem::absolute(place_).lexically_normal();
    if (path.filename().empty()) path = path.parent_path();
    std::error_code error;
    for (; path.has_relative_path() && !std::filesystem::exists(path, error); path = path.parent_path()) {
      missing.push_back(path);
    }
    for (auto at = missing.rbegin(); at != missing.rend(); ++at) {
      if (::mkdir(at->c_str(), 0777) != 0 && errno != EEXIST) throw_errno(errno, "make", at->string());
      const Descriptor parent(::open(at->parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      if (parent.get() < 0 || ::fsync(parent.get()) != 0) throw_errno(errno, "sync", at->parent_path().string());
    }
  }

  Descriptor open_lock(LockMode mode) {
    const std::string base(split_name(kLockName).base);
    const int folder = folder_fd("locks");
    int fd = retried([&] { return ::openat(folder, base.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK); });
    if (fd < 0 && errno == ENOENT) {
      fd = retried([&] { return ::openat(folder, base.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666); });
    }
    if (fd < 0) throw_errno(errno, mode == LockMode::shared ? "lock (shared)" : "lock (exclusive)", kLockName);
    return Descriptor(fd);
  }

  int folder_fd(std::string_view folder) const {
    if (folder.empty()) return root_.get();
    const auto found = std::find(std::begin(kFolders), std::end(kFolders), folder);
    if (found == std::end(kFolders)) {
      throw StoreError(ErrorKind::invalid, folder.substr(0, 100), "this is not a folder of a store");
    }
    return folders_[static_cast<size_t>(found - std::begin(kFolders))].get();
  }

  int folder_of(const std::string& name) const {
    checked_name(name);
    return folder_fd(split_name(name).folder);
  }

  static void refuse_temporary(const std::string& name) {
    const NameForm form = checked_name(name);
    if (form == NameForm::temporary || form == NameForm::lock) {
      throw StoreError(ErrorKind::invalid, name, "this name is for the store's own use");
    }
  }

  std::string place_;
  Descriptor root_;
  std::array<Descriptor, std::size(kFolders)> folders_;
};

}  // namespace

std::shared_ptr<Backend> open_directory_backend(const std::string& path, bool create) {
  return std::make_shared<DirectoryBackend>(path, create);
}

}  // namespace gcr
