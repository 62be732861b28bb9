# cpack --config build/<preset>/CPackConfig.cmake: a Debian package of what `cmake --install` installs.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME vmm)
set(CPACK_PACKAGE_CONTACT "the vmm developers <vmm@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "runs arm64 guests with a Statistical Profiling Extension")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION otherosfs)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)  # by dpkg-shlibdeps: the Debian packages of the libraries it is linked to
include(CPack)
