// The GIC's register frames as devices on the bus. For the GIC's own files only.
#pragma once

#include "devices/gicv3/gicv3.h"

namespace vmm::devices {

class GicV3::Distributor final : public Device {
  public:
    explicit Distributor(GicV3& gic) : gic_(gic) {}

    std::string_view name() const override { return "gic-distributor"; }
    u64 read(const Access& access) override;
    void write(const Access& access, u64 value) override;
    /// Resets the whole GIC.
    void reset() override { gic_.reset(); }
    bool locks_itself() const override { return true; }

  private:
    GicV3& gic_;
};

class GicV3::Redistributors final : public Device {
  public:
    explicit Redistributors(GicV3& gic) : gic_(gic) {}

    std::string_view name() const override { return "gic-redistributors"; }
    u64 read(const Access& access) override;
    void write(const Access& access, u64 value) override;
    void reset() override {}  // the distributor's reset does it all
    bool locks_itself() const override { return true; }

  private:
    Pe* pe_at(u64 offset) const;

    GicV3& gic_;
};

}  // namespace vmm::devices
