package cli

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
)

// garbage is how much of it may pile up before a collection, in percent of what is in use. A worker has few MB in use
// and makes 50 KB of garbage a job, so Go's default of 100 has it collect many times a second.
const garbage = 300

// limitFiles say how much memory the process may use: of control groups version 2, and 1.
var limitFiles = []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}

// tuneCollector has garbage collected less often, and more often again near the memory limit. What GOGC and GOMEMLIMIT
// say takes precedence. No samples of allocations are taken, which nobody could read.
func tuneCollector(files []string) {
	runtime.MemProfileRate = 0
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbage)
	}
	if limit := memoryLimit(files); limit > 0 && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit / 10 * 9) // the rest is what Go doesn't count, such as the program itself
	}
}

// memoryLimit is what the first file that is there says; 0: there is no limit.
func memoryLimit(files []string) int64 {
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		// "max", or a number near the largest there is, means none.
		limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err != nil || limit > math.MaxInt64/2 {
			return 0
		}
		return limit
	}
	return 0
}
