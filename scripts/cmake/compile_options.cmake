# Flags of our own targets. Third-party headers are SYSTEM and stay silent.
add_library(vmm_options INTERFACE)
target_include_directories(vmm_options INTERFACE "${CMAKE_SOURCE_DIR}")
target_compile_features(vmm_options INTERFACE cxx_std_20)
target_compile_options(vmm_options INTERFACE
    -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wimplicit-fallthrough
    -Wformat=2 -Wno-missing-field-initializers
    # The emulated FPU relies on exact IEEE semantics: no contraction, no assumed rounding mode.
    -ffp-contract=off
    $<$<CXX_COMPILER_ID:GNU>:-Wduplicated-cond -Wlogical-op -Wno-pedantic>
    $<$<CXX_COMPILER_ID:Clang>:-Wno-gnu-label-as-value -Wno-gnu-zero-variadic-macro-arguments>)
if(VMM_WERROR)
    target_compile_options(vmm_options INTERFACE -Werror)
endif()
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    target_compile_options(vmm_options INTERFACE -march=${VMM_X86_LEVEL} -mcx16)
endif()
if(VMM_SANITIZE)
    # A finding of any kind ends the process: what only prints would pass for success.
    target_compile_options(vmm_options INTERFACE
        -fsanitize=${VMM_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(vmm_options INTERFACE -fsanitize=${VMM_SANITIZE})
endif()
if(VMM_FUZZ)
    target_compile_options(vmm_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

# vmm_layer(NAME SOURCES... ): one static library per layer.
function(vmm_layer name)
    add_library(${name} STATIC ${ARGN})
    target_link_libraries(${name} PUBLIC vmm_options)
endfunction()
