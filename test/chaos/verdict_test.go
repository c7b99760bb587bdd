package chaos

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/passcode"
	"github.com/passcode-worker/passcode-worker/test/harness"
)

// violation is a promise that was broken for a request.
type violation struct{ id, what string }

func (v violation) String() string { return v.id + ": " + v.what }

// violations checks every promise against what became of the jobs, after all
// trouble is over, everything is settled and operators have replayed what can be.
func (o observed) violations() []violation {
	var broken []violation
	phones := map[string][]*request{}
	for _, id := range slices.Sorted(maps.Keys(o.requests)) {
		r := o.requests[id]
		for _, what := range r.violations() {
			broken = append(broken, violation{id, what})
		}
		phones[r.phone] = append(phones[r.phone], r)
	}
	for _, requests := range phones {
		if what := overLimit(requests); what != "" {
			broken = append(broken, violation{requests[0].id, what})
		}
	}
	broken = append(broken, o.leaks...)
	slices.SortStableFunc(broken, func(a, b violation) int { return cmp.Compare(a.id, b.id) })
	return broken
}

// violations checks the promises about one request.
func (r *request) violations() (broken []string) {
	rule := func(holds bool, format string, args ...any) {
		if !holds {
			broken = append(broken, fmt.Sprintf(format, args...))
		}
	}
	status := r.record.Status
	rule(r.flavour != "unheard of", "nobody published it")
	rule(r.record.Final, "lost: its record is %q", status)
	rule(len(r.accepted) <= 1, "doubled: Aliyun accepted it %d times", len(r.accepted))
	rule((len(r.accepted) > 0) == (status == passcode.StatusSent),
		"Aliyun accepted it %d times, and its record is %q", len(r.accepted), status)
	rule(slices.Contains(r.flavour.ends(), status), "a %s job ends as %q", r.flavour, status)
	rule(slices.ContainsFunc(r.announced, r.isRecord), "its record %q was never announced", status)
	rule(r.record.Attempts <= maxAttempts, "%d attempts, of %d", r.record.Attempts, maxAttempts)
	if status == passcode.StatusRejected {
		rule(slices.Contains(r.dead, deadLetter{r.id, "invalid"}), "refused without a dead letter")
	}
	// An end is an end, unless an operator opens the request again.
	var last passcode.Result
	for _, a := range r.inOrder() {
		if last.Final && a.Replays == last.Replays {
			rule(a.Final && a.Status == last.Status, "was %q, and then %q", last.Status, a.Status)
		}
		last = a.Result
	}
	return broken
}

// maxAttempts is the workers' retry.max_attempts; see settings.
const maxAttempts = 8

// inOrder are the records that were announced, in the order in which they were
// written.
func (r *request) inOrder() []announcement {
	var records []announcement
	for _, a := range r.announced {
		if a.seq > 0 {
			records = append(records, a)
		}
	}
	slices.SortStableFunc(records, func(a, b announcement) int { return cmp.Compare(a.seq, b.seq) })
	return records
}

func (r *request) isRecord(a announcement) bool {
	return a.Status == r.record.Status && a.UpdatedAt.Equal(r.record.UpdatedAt)
}

// ends are the ends that a job of this flavour may have.
func (f flavour) ends() []passcode.Status {
	switch f {
	case several:
		return []passcode.Status{passcode.StatusSent, passcode.StatusRateLimited}
	case wrong:
		return []passcode.Status{passcode.StatusRejected}
	case hasty:
		return []passcode.Status{passcode.StatusSent, passcode.StatusExpired}
	default:
		return []passcode.Status{passcode.StatusSent}
	}
}

// overLimit checks the requests of one phone: never one message too many, and
// none refused while there was room.
func overLimit(requests []*request) string {
	var sent, limited int
	for _, r := range requests {
		sent += len(r.accepted)
		if r.record.Status == passcode.StatusRateLimited {
			limited++
		}
	}
	if requests[0].flavour != several {
		return ""
	}
	if sent > perPhone || sent < perPhone && limited > 0 {
		return fmt.Sprintf("its phone was sent %d messages and %d were refused, with a limit of %d", sent, limited, perPhone)
	}
	return ""
}

// summary is what a run shows: how often each thing was so.
type summary struct {
	took   time.Duration
	counts map[string]int          // of requests, repeats, and what was wrong with them
	status map[passcode.Status]int // of requests
	done   map[string]int          // of troubles
}

func (o observed) summary() summary {
	s := summary{counts: map[string]int{}, status: map[passcode.Status]int{}}
	count := func(what string, holds bool) {
		if holds {
			s.counts[what]++
		}
	}
	phones := map[string]int{}
	for _, r := range o.requests {
		s.counts["requests"]++
		s.counts["repeats"] += len(r.again)
		s.status[r.record.Status]++
		count("lost", !r.record.Final)
		count("doubled", len(r.accepted) > 1)
		count("recovered", r.record.Recovered)
		count("interrupted", r.record.Interruptions > 0)
		count("replayed", r.record.Replays > 0)
		phones[r.phone] += len(r.accepted)
	}
	for _, n := range phones {
		count("over", n > perPhone)
	}
	return s
}

func (s *summary) add(other summary) {
	s.took += other.took
	addTo(&s.counts, other.counts)
	addTo(&s.status, other.status)
	addTo(&s.done, other.done)
}

func addTo[K comparable](sum *map[K]int, more map[K]int) {
	if *sum == nil {
		*sum = map[K]int{}
	}
	for what, n := range more {
		(*sum)[what] += n
	}
}

func (s summary) String() string {
	var b strings.Builder
	c := s.counts
	fmt.Fprintf(&b, "%d lost, %d doubled, %d phones over their limit.\n", c["lost"], c["doubled"], c["over"])
	fmt.Fprintf(&b, "  %d requests and %d repeats of them, in %s:", c["requests"], c["repeats"], s.took.Round(time.Second))
	for _, status := range slices.Sorted(maps.Keys(s.status)) {
		fmt.Fprintf(&b, " %d %s", s.status[status], status)
	}
	fmt.Fprintf(&b, ".\n  %d sends were settled by a look-up, %d requests lost a worker in mid-call, %d were replayed.\n ",
		c["recovered"], c["interrupted"], c["replayed"])
	for _, what := range slices.Sorted(maps.Keys(s.done)) {
		fmt.Fprintf(&b, " %s %d;", what, s.done[what])
	}
	return strings.TrimSuffix(b.String(), ";")
}

// TestViolations: each promise, broken alone, is found; and only that.
func TestViolations(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	state := func(status passcode.Status) passcode.Result {
		return passcode.Result{RequestID: "a", UpdatedAt: at, Attempts: 1}.In(status)
	}
	heard := func(results ...passcode.Result) (announced []announcement) {
		for i, r := range results {
			announced = append(announced, announcement{r, uint64(i) + 1})
		}
		return announced
	}
	good := func() *request {
		return &request{
			job:       job{id: "a", flavour: plain, phone: "1"},
			record:    state(passcode.StatusSent),
			announced: heard(state(passcode.StatusSending), state(passcode.StatusSent)),
			accepted:  []harness.Sent{{OutID: "a", Phone: "1"}},
		}
	}
	invalid := deadLetter{"a", "invalid"}
	for _, row := range []struct {
		name  string
		spoil func(r *request)
		want  string
	}{
		{"all is well", func(*request) {}, ""},
		{"nobody's", func(r *request) { r.flavour = "unheard of" }, "nobody published it"},
		{"without a record", func(r *request) { *r = request{job: r.job} }, "lost"},
		{"under way for ever", func(r *request) { r.record = state(passcode.StatusRetrying) }, "lost"},
		{"sent twice", func(r *request) { r.accepted = append(r.accepted, r.accepted...) }, "doubled"},
		{"sent, and said to be sent no time", func(r *request) { r.accepted = nil }, `accepted it 0 times, and its record is "sent"`},
		{"sent, and recorded as expired", func(r *request) {
			r.flavour, r.record = hasty, state(passcode.StatusExpired)
			r.announced = heard(r.record)
		}, `accepted it 1 times, and its record is "expired"`},
		{"a good job given up", func(r *request) {
			r.accepted, r.record = nil, state(passcode.StatusExpired)
			r.announced = heard(r.record)
		}, `ends as "expired"`},
		{"never announced", func(r *request) { r.announced = r.announced[:1] }, "never announced"},
		{"announced otherwise", func(r *request) { r.announced[1].UpdatedAt = at.Add(1) }, "never announced"},
		{"too many attempts", func(r *request) { r.record.Attempts = maxAttempts + 1 }, "attempts"},
		{"refused without a dead letter", func(r *request) {
			r.flavour, r.accepted, r.record = wrong, nil, state(passcode.StatusRejected)
			r.announced = heard(r.record)
		}, "without a dead letter"},
		{"refused with one", func(r *request) {
			r.flavour, r.accepted, r.record, r.dead = wrong, nil, state(passcode.StatusRejected), []deadLetter{invalid}
			r.announced = heard(r.record)
		}, ""},
		{"an end that was none", func(r *request) {
			r.announced = heard(state(passcode.StatusExpired), state(passcode.StatusSent))
		}, `was "expired", and then "sent"`},
		{"opened again by nobody", func(r *request) {
			r.announced = heard(state(passcode.StatusSent), state(passcode.StatusSending), state(passcode.StatusSent))
		}, `was "sent", and then "sending"`},
		{"opened again by an operator", func(r *request) {
			r.record.Replays = 1
			first, second := state(passcode.StatusDeadLettered), state(passcode.StatusSent)
			second.Replays = 1
			r.announced = heard(first, second)
		}, ""},
		{"repeated, and announced again", func(r *request) {
			duplicate := state(passcode.StatusSent)
			duplicate.Duplicate = true
			r.announced = append(r.announced, announcement{duplicate, 0}, announcement{state(passcode.StatusSending), 0})
		}, ""},
		{"heard in another order", func(r *request) { slices.Reverse(r.announced) }, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			r := good()
			row.spoil(r)
			o := observed{requests: map[string]*request{"a": r}}
			found := fmt.Sprint(o.violations())
			if row.want == "" {
				assert.Equal(t, "[]", found)
			} else {
				assert.Contains(t, found, row.want)
			}
		})
	}
	assert.Equal(t, "[a: shows it]", fmt.Sprint(observed{leaks: []violation{{"a", "shows it"}}}.violations()))
}

func TestLeaksIn(t *testing.T) {
	t.Parallel()
	for _, j := range newJobs(scale{jobs: 100, duration: time.Minute}) {
		if j.flavour == wrong { // whose phone is none
			continue
		}
		record := passcode.Result{RequestID: j.id, Phone: j.phone[:6] + "****" + j.phone[10:], BizID: "179543513800123456^0"}
		for _, shown := range []string{j.phone, j.phone[3:], code, "x" + code + "x"} {
			clean, err := json.Marshal(record)
			require.NoError(t, err)
			assert.Empty(t, leaksIn(t, clean), j.id)
			leaking := record
			leaking.ProviderRequestID = shown
			data, err := json.Marshal(leaking)
			require.NoError(t, err)
			found := leaksIn(t, data)
			require.Len(t, found, 1, j.id)
			require.NotContains(t, found[0], shown)
		}
	}
}

func TestOverLimit(t *testing.T) {
	t.Parallel()
	phone := func(sent, limited int) string {
		var all []*request
		for i := range sent + limited {
			r := &request{job: job{flavour: several}, record: passcode.Result{}.In(passcode.StatusRateLimited)}
			if i < sent {
				r.accepted, r.record = make([]harness.Sent, 1), passcode.Result{}.In(passcode.StatusSent)
			}
			all = append(all, r)
		}
		return overLimit(all)
	}
	assert.Empty(t, phone(perPhone, 4))
	assert.Empty(t, phone(1, 0))
	assert.NotEmpty(t, phone(perPhone+1, 3), "one too many")
	assert.NotEmpty(t, phone(perPhone-1, 5), "one refused while there was room")
}
