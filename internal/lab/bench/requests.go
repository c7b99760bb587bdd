package bench

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// MaxJobs is how many jobs one run can have: each goes to a number of its own,
// and so many numbers begin with the same three digits.
const MaxJobs = 100_000_000

// Requests are the jobs of one run. Everything about a job follows from its index, so
// that a million of them take no memory.
type Requests struct {
	Run    string // tells the runs apart on one broker: letters and digits
	WarmUp bool   // they only warm the workers up; the run has other ids and numbers
}

func (r Requests) prefix() string {
	if r.WarmUp {
		return "warmup-" + r.Run + "-"
	}
	return "bench-" + r.Run + "-"
}

// ID is the request id of the job with that index.
func (r Requests) ID(i int) string { return r.prefix() + strconv.Itoa(i) }

// Index is the index of a request id of this run. ok is false for any other id.
func (r Requests) Index(id string) (i int, ok bool) {
	i, err := strconv.Atoi(strings.TrimPrefix(id, r.prefix()))
	return i, err == nil && i >= 0 && i < MaxJobs && r.ID(i) == id
}

// Job is the job with that index. Its number is its own, so that no limit delays it.
func (r Requests) Job(i int) passcode.Job {
	beginning := "+86139"
	if r.WarmUp {
		beginning = "+86138"
	}
	return passcode.Job{
		RequestID: r.ID(i),
		Phone:     passcode.NewPhone(fmt.Sprintf("%s%08d", beginning, i)),
		Code:      passcode.NewPasscode(fmt.Sprintf("%06d", i%1_000_000)),
	}
}
