package bench

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// MaxJobs is how many jobs one run can have: each goes to a number of its own,
// and so many numbers begin with the same three digits.
const MaxJobs = 100_000_000

// Requests are the jobs of one run. Everything about a job follows from its index, so
// that a million of them take no memory.
type Requests struct {
	Prefix  string // of their ids
	Numbers string // the beginning of their phone numbers
}

// warmUp are the jobs that only warm the workers up.
var warmUp = Requests{"warmup-0-", "+86138"}

// newRequests are the jobs of a run that begins now.
func newRequests(now time.Time) Requests {
	return Requests{"bench-" + strconv.FormatInt(now.Unix(), 36) + "-", "+86139"}
}

// ID is the request id of the job with that index.
func (r Requests) ID(i int) string { return r.Prefix + strconv.Itoa(i) }

// Index is the index of a request id of this run. ok is false for any other id.
func (r Requests) Index(id string) (i int, ok bool) {
	i, err := strconv.Atoi(strings.TrimPrefix(id, r.Prefix))
	return i, err == nil && i >= 0 && i < MaxJobs && r.ID(i) == id
}

// Job is the job with that index. Its number is its own, so that no limit delays it.
func (r Requests) Job(i int) passcode.Job {
	return passcode.Job{
		RequestID: r.ID(i),
		Phone:     passcode.NewPhone(fmt.Sprintf("%s%08d", r.Numbers, i)),
		Code:      passcode.NewPasscode(fmt.Sprintf("%06d", i%1_000_000)),
	}
}
