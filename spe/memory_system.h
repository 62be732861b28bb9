// Data caches of all PEs and what keeps them coherent, as tags only: for the detailed event model.
//
// Every PE has an L1D and an inclusive L2; one last-level cache and one directory (a snoop filter) belong to all. Lines are
// 64 bytes and named by physical address / 64; the protocol is MESI, its state kept in the L2. Least recently used
// replacement everywhere. The directory is a cache too: what it forgets it takes out of the private caches, so its memory is
// bounded. Neither instruction fetches nor prefetchers are modelled.
//
// Hits in private caches touch nothing shared. Everything else happens under the lock of the line's shard.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "vmm/base/types.h"

namespace vmm::spe {

/// `bytes` and `ways` give a power of two of sets.
struct CacheGeometry {
    u64 bytes;
    unsigned ways;
};

/// Defaults: what a Neoverse N1 system may have.
struct MemoryGeometry {
    CacheGeometry l1{u64{64} << 10, 4};
    CacheGeometry l2{u64{1} << 20, 8};
    CacheGeometry llc{u64{8} << 20, 16};
    unsigned directory_ways = 16;
    unsigned cores_per_cluster = 4;  // a peer in another cluster is further away
};

inline constexpr unsigned kCacheLineShift = 6;
inline constexpr unsigned kMaxCores = 64;

/// Who had the data.
enum class DataOrigin : u8 { l1, l2, peer_core, peer_cluster, llc, dram };

struct AccessOutcome {
    DataOrigin origin = DataOrigin::l1;
    bool modified = false;  // a peer's copy was modified
    bool snooped = false;   // a peer's copy was looked at: for its data, or to take it away
};

/// MESI.
enum class LineState : u8 { invalid, shared, exclusive, modified };

/// The private caches of one PE. Its own thread fills them; any thread that holds the shard of a line may take that line away
/// or downgrade it. A way of the L2 is `line + 1` and the state in one word, so both change at once.
class PrivateCaches {
  public:
    explicit PrivateCaches(const MemoryGeometry& geometry);

    // Own thread.
    bool in_l1(u64 line);
    LineState in_l2(u64 line);
    /// E or M becomes M; false when the line is shared or gone.
    bool own(u64 line);
    /// Of a line that in_l2() just found.
    void fill_l1(u64 line);
    /// Under the line's shard. Returns a modified line that had to leave, plus 1; else 0.
    u64 fill(u64 line, LineState state);
    void clear();

    // Any thread, under the line's shard.
    LineState peek(u64 line) const;
    void downgrade(u64 line);
    void invalidate(u64 line);

  private:
    using Word = std::atomic<u64>;
    struct Array {
        explicit Array(const CacheGeometry& geometry);
        std::size_t set(u64 line) const { return static_cast<std::size_t>(line & (sets - 1)) * ways; }
        std::size_t victim(std::size_t first) const;

        std::size_t sets;
        unsigned ways;
        std::vector<Word> words;
        std::vector<u32> used;  // when, by the clock; own thread only
    };

    static constexpr u64 word(u64 line, LineState state) { return (line + 1) << 2 | static_cast<u64>(state); }
    static constexpr std::size_t kAbsent = ~std::size_t{0};
    static std::size_t find(const Array& array, u64 line);
    void drop_l1(u64 line);

    Array l1_;
    Array l2_;
    u32 clock_ = 0;
};

class MemorySystem {
  public:
    /// `cores`: 1 to kMaxCores.
    MemorySystem(const MemoryGeometry& geometry, unsigned cores);

    /// PE `core` reads `line`, or (`exclusive`) writes it. On that PE's thread.
    AccessOutcome access(unsigned core, u64 line, bool exclusive);

    /// Empties the private caches of `core`, without writing back. On that PE's thread.
    void reset(unsigned core) { cores_[core]->clear(); }

    unsigned cores() const { return static_cast<unsigned>(cores_.size()); }
    /// What `core` holds. Exact only while no other thread accesses the line.
    LineState state(unsigned core, u64 line) const { return cores_[core]->peek(line); }

  private:
    static constexpr std::size_t kShards = 64;

    struct DirectoryEntry {
        u64 tag = 0;  // line + 1; 0 = free
        u64 sharers = 0;
        u32 used = 0;
    };
    struct SharedWay {
        u64 tag = 0;
        u32 used = 0;
    };
    struct alignas(64) Shard {
        std::mutex mutex;
        u32 clock = 0;
    };

    Shard& shard(u64 line) { return shards_[line % kShards]; }
    AccessOutcome fetch(unsigned core, u64 line, bool exclusive);
    DirectoryEntry& directory_entry(Shard& shard, u64 line);
    bool touch_llc(Shard& shard, u64 line);
    AccessOutcome snoop(unsigned core, u64 line, bool exclusive, DirectoryEntry& entry, bool& others);

    const MemoryGeometry geometry_;
    std::vector<std::unique_ptr<PrivateCaches>> cores_;
    std::vector<Shard> shards_;
    std::size_t directory_sets_;
    std::vector<DirectoryEntry> directory_;
    std::size_t llc_sets_;
    std::vector<SharedWay> llc_;
};

}  // namespace vmm::spe
