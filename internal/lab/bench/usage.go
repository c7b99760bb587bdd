package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

// Usage is what one process uses. What can't be learned is 0.
type Usage struct {
	// Resident is its memory as the operating system counts it, in bytes.
	Resident int64 `json:"resident_bytes"`
	// CPU is the processor time that it has taken since its start.
	CPU time.Duration `json:"-"`
	// What follows is told by a worker alone. HeapInUse is the memory of the
	// spans that hold objects, garbage among them; HeapLive what the last garbage
	// collection found to be alive. Both in bytes.
	HeapInUse  int64 `json:"heap_in_use_bytes,omitempty"`
	HeapLive   int64 `json:"heap_live_bytes,omitempty"`
	Goroutines int64 `json:"goroutines,omitempty"`
	Files      int64 `json:"open_files,omitempty"`
}

// Plus is what two processes use together.
func (u Usage) Plus(v Usage) Usage {
	return Usage{
		Resident: u.Resident + v.Resident, CPU: u.CPU + v.CPU,
		HeapInUse: u.HeapInUse + v.HeapInUse, HeapLive: u.HeapLive + v.HeapLive,
		Goroutines: u.Goroutines + v.Goroutines, Files: u.Files + v.Files,
	}
}

// ParseMetrics reads a worker's usage from its /metrics, in the text format of
// Prometheus.
func ParseMetrics(r io.Reader) (Usage, error) {
	var u Usage
	whole := map[string]*int64{
		"process_resident_memory_bytes": &u.Resident,
		"go_memstats_heap_inuse_bytes":  &u.HeapInUse,
		"go_gc_heap_live_bytes":         &u.HeapLive,
		"go_goroutines":                 &u.Goroutines,
		"process_open_fds":              &u.Files,
	}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		name, text, found := strings.Cut(lines.Text(), " ")
		field, wanted := whole[name]
		if !found || !wanted && name != "process_cpu_seconds_total" {
			continue
		}
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return Usage{}, fmt.Errorf("metric %s: %q is no number", name, text)
		}
		if wanted {
			*field = int64(value)
		} else {
			u.CPU = time.Duration(value * float64(time.Second))
		}
	}
	return u, lines.Err()
}

// clockTick is the unit of /proc/PID/stat, on every Linux that Go runs on.
const clockTick = time.Second / 100

// ProcessUsage is the usage of any process of this machine, where it has a
// Linux kernel's /proc; elsewhere it is zero.
func ProcessUsage(pid int) Usage {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Usage{}
	}
	// The second field is the name in parentheses, which may itself hold some.
	_, rest, _ := bytes.Cut(stat[max(bytes.LastIndexByte(stat, ')'), 0):], []byte(" "))
	fields := strings.Fields(string(rest)) // from the third, the state, on
	const user, system, resident = 14 - 3, 15 - 3, 24 - 3
	if len(fields) <= resident {
		return Usage{}
	}
	number := func(i int) int64 {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0
		}
		return n
	}
	return Usage{
		Resident: number(resident) * int64(os.Getpagesize()),
		CPU:      time.Duration(number(user)+number(system)) * clockTick,
	}
}
