package cluster

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/passcode"
)

const (
	// perPhone is how many of the jobs of one phone are sent, and shared how many
	// there are where a phone has several.
	perPhone = 2
	shared   = 10
)

// job is one of the jobs published: good, wrong, or one of several for a phone.
type job struct{ id, phone string }

// jobsFrom returns n jobs, counted from the number first. Of a hundred one is
// wrong and ten are for the same phone; n and first are hundreds.
func jobsFrom(first, n int) []job {
	jobs := make([]job, n)
	for i := range jobs {
		number := first + i
		jobs[i] = job{id: fmt.Sprintf("good-%d", number), phone: fmt.Sprintf("+86138%08d", number)}
		switch number % 100 {
		case 0:
			jobs[i] = job{id: fmt.Sprintf("wrong-%d", number), phone: "+1"}
		case 9, 19, 29, 39, 49, 59, 69, 79, 89, 99:
			jobs[i] = job{id: fmt.Sprintf("shared-%d", number), phone: fmt.Sprintf("+86139%08d", number/100)}
		}
	}
	return jobs
}

func (j job) body() string {
	return fmt.Sprintf(`{"request_id":%q,"phone":%q,"code":%q}`, j.id, j.phone, code)
}

func (j job) kind() string {
	kind, _, _ := strings.Cut(j.id, "-")
	return kind
}

// check looks at what became of all jobs: what Aliyun was sent, what is recorded,
// announced and dead-lettered.
func (s *system) check(jobs []job) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	times, phones := map[string]int{}, map[string]int{}
	for _, sent := range s.emulator.Sent() {
		times[sent.OutID]++
		phones[sent.Phone]++
	}
	records := s.records(ctx)
	status, sent := map[string]int{}, 0 // of requests, by kind and status
	var wrong []string                  // no more than a few are shown
	note := func(format string, args ...any) {
		if wrong = append(wrong, fmt.Sprintf(format, args...)); len(wrong) > 20 {
			wrong = wrong[:20]
		}
	}
	for _, j := range jobs {
		r := records[j.id]
		status[j.kind()+" "+string(r.Status)]++
		sent += min(times[j.id], 1)
		if times[j.id] > 1 || (times[j.id] == 1) != (r.Status == passcode.StatusSent) {
			note("%s: recorded as %q, sent %d times", j.id, r.Status, times[j.id])
		}
		if announced := s.heard.of(j.id); announced != r.Status {
			note("%s: recorded as %q, announced as %q", j.id, r.Status, announced)
		}
	}
	for phone, n := range phones {
		if n > perPhone {
			note("a phone that ends in %s was sent %d messages", phone[len(phone)-4:], n)
		}
	}
	assert.Empty(s.t, wrong)
	assert.Len(s.t, times, sent, "requests that nobody published were sent")
	assert.Len(s.t, records, len(jobs))

	count := map[string]int{}
	for _, j := range jobs {
		count[j.kind()]++
	}
	assert.Equal(s.t, map[string]int{
		"good sent":           count["good"],
		"shared sent":         count["shared"] / shared * perPhone,
		"shared rate_limited": count["shared"] / shared * (shared - perPhone),
		"wrong rejected":      count["wrong"],
	}, status)

	written := s.deadLetters(ctx)
	dead := map[string]int{}
	for _, d := range written {
		dead[d]++
	}
	want := map[string]int{}
	for _, j := range jobs {
		if j.kind() == "wrong" {
			want["passcode.dead.invalid."+j.id+" invalid_job"] = 1
		}
	}
	assert.Empty(s.t, cmp.Diff(want, dead), "dead letters")
}

// deadLetters returns the subject and the error of every dead letter. As many must
// be there as ever were written: one that is written twice takes the place of the
// first.
func (s *system) deadLetters(ctx context.Context) (letters []string) {
	s.t.Helper()
	stream, err := s.js.Stream(ctx, "PASSCODE_DEAD")
	require.NoError(s.t, err)
	state := stream.CachedInfo().State
	assert.Equal(s.t, state.Msgs, state.LastSeq, "dead letters that are there, and that were written")
	for seq := range state.LastSeq {
		letter, err := stream.GetMsg(ctx, seq+1)
		if err != nil {
			assert.ErrorIs(s.t, err, jetstream.ErrMsgNotFound)
			continue
		}
		letters = append(letters, letter.Subject+" "+letter.Header.Get("Passcode-Error-Code"))
	}
	return letters
}
