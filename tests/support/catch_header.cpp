// Compiled for its precompiled header, which all unit tests share.
#include <catch2/catch.hpp>
