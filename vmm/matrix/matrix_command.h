// What `vmm matrix` is asked for.
#pragma once

#include <string>

namespace vmm {

struct MatrixCommand {
    std::string file;     // empty only with collect
    std::string output;   // folder of the results; empty: NAME-results here, from NAME.toml
    std::string slurm;    // folder for a job array, instead of running anything; empty: none
    std::string collect;  // folder whose results are to be told; empty: none
    std::string junit;    // empty: junit.xml in the output folder
    unsigned jobs = 0;    // 0: not said
    bool list = false;
};

}  // namespace vmm
