# cmake -DINPUT=FILE -DOUTPUT=FILE.cpp -DHEADER=H -DFUNCTION=NAME -P embed.cmake
# Writes a C++ file with a function vmm::NAME() that returns the bytes of INPUT.
file(READ "${INPUT}" bytes HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
string(REGEX REPLACE "(................................................................................)" "\\1\n" bytes "${bytes}")
file(WRITE "${OUTPUT}" "#include \"${HEADER}\"

namespace vmm {

std::span<const u8> ${FUNCTION}() {
    static constexpr u8 kBytes[] = {
${bytes}};
    return kBytes;
}

}  // namespace vmm
")
