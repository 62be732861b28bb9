# Third-party libraries, each as an imported target. All are Debian 12 packages; scripts/install_deps.sh lists them.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog 1.10 REQUIRED)
find_package(CLI11 REQUIRED)
find_package(tl-expected REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
find_package(ZLIB REQUIRED)
pkg_check_modules(liburing REQUIRED IMPORTED_TARGET liburing>=2.3)
pkg_check_modules(libseccomp REQUIRED IMPORTED_TARGET libseccomp>=2.5)
pkg_check_modules(zstd REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(lzma REQUIRED IMPORTED_TARGET liblzma)
pkg_check_modules(tomlplusplus REQUIRED IMPORTED_TARGET tomlplusplus)

# libfdt ships neither a .pc file nor a CMake package in Debian 12.
find_path(FDT_INCLUDE_DIR libfdt.h REQUIRED)
find_library(FDT_LIBRARY fdt REQUIRED)
add_library(vmm::fdt INTERFACE IMPORTED)
set_target_properties(vmm::fdt PROPERTIES
    INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${FDT_INCLUDE_DIR}"
    INTERFACE_LINK_LIBRARIES "${FDT_LIBRARY}")

# libslirp's .pc file asks for that of GLib, which nothing here needs.
find_path(SLIRP_INCLUDE_DIR slirp/libslirp.h REQUIRED)
find_library(SLIRP_LIBRARY slirp REQUIRED)
add_library(vmm::slirp INTERFACE IMPORTED)
set_target_properties(vmm::slirp PROPERTIES
    INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${SLIRP_INCLUDE_DIR}"
    INTERFACE_LINK_LIBRARIES "${SLIRP_LIBRARY}")

if(BUILD_TESTING)
    find_package(Catch2 2.13 REQUIRED)
endif()
