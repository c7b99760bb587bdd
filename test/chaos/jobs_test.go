package chaos

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/passcode-worker/passcode-worker/test/harness"
)

// code is the passcode of every job. It must not show anywhere.
const code = "pq7z9x"

const (
	// perPhone is how many messages a phone gets, and shared how many requests
	// there are for each phone that has several.
	perPhone = 2
	shared   = 6
	// refusedPhones is how many phones Aliyun refuses at first, for their template.
	refusedPhones = 10
)

// flavour says what a job is to show.
type flavour string

const (
	plain   flavour = "plain"   // is sent
	several flavour = "shared"  // one of several for a phone: sent, or rate_limited
	wrong   flavour = "wrong"   // breaks a rule
	hasty   flavour = "hasty"   // expires soon: sent, or expired
	refused flavour = "refused" // dead-lettered at first; sent once an operator replays it
)

// job is a request to be published, once or more often.
type job struct {
	id      string
	flavour flavour
	phone   string
	// at is when it is published, from the beginning, and again when it is
	// published again, as by a producer that repeats itself.
	at    time.Duration
	again []time.Duration
	ttl   time.Duration // of a hasty one
}

// newJobs draws the jobs of a run.
func newJobs(s scale) []job {
	dice := rand.New(rand.NewPCG(s.seed, 2))
	jobs := make([]job, s.jobs)
	for i := range jobs {
		j := job{
			id: fmt.Sprintf("plain-%d", i), flavour: plain, phone: fmt.Sprintf("+86138%08d", i),
			at: time.Duration(dice.Int64N(int64(s.duration))),
		}
		switch slot := i % 50; {
		case slot == 0:
			j.id, j.flavour, j.phone = fmt.Sprintf("wrong-%d", i), wrong, "+1"
		case slot == 1:
			j.id, j.flavour = fmt.Sprintf("hasty-%d", i), hasty
			j.ttl = time.Second + time.Duration(dice.Int64N(int64(8*time.Second)))
		case slot == 2 && i/50 < refusedPhones:
			j.id, j.flavour, j.phone = fmt.Sprintf("refused-%d", i), refused, refusedPhone(i/50)
		case slot >= 3 && slot < 3+shared:
			j.id, j.flavour, j.phone = fmt.Sprintf("shared-%d", i), several, fmt.Sprintf("+86139%08d", i/50)
		}
		for dice.IntN(10) == 0 {
			// Some at once, to be handled side by side, some when all is over.
			j.again = append(j.again, j.at+time.Duration(dice.Int64N(2)*dice.Int64N(int64(20*time.Second))))
		}
		jobs[i] = j
	}
	return jobs
}

func refusedPhone(n int) string { return fmt.Sprintf("+86137%08d", n) }

// publication is one message to publish.
type publication struct {
	job
	copy int // 0 is the first
	at   time.Duration
}

func (p publication) messageID() string {
	if p.copy == 0 {
		return p.id
	}
	// The stream would drop a repeat under the same id. That is not what is tested.
	return fmt.Sprintf("%s-again-%d", p.id, p.copy)
}

func (j job) body(now time.Time) string {
	body := fmt.Sprintf(`{"request_id":%q,"phone":%q,"code":%q`, j.id, j.phone, code)
	if j.ttl > 0 {
		body += fmt.Sprintf(`,"expires_at":%q`, now.Add(j.ttl).Format(time.RFC3339Nano))
	}
	return body + "}"
}

const (
	// publishers is how many jobs are published at a time.
	publishers = 64
	// publishBound is how long publishing may take in the end, several times what is
	// planned.
	publishBound = 10 * time.Minute
)

// publish publishes the jobs at their times, each until the stream has
// acknowledged it.
func (s *system) publish(jobs []job) error {
	var all []publication
	for _, j := range jobs {
		all = append(all, publication{j, 0, j.at})
		for n, at := range j.again {
			all = append(all, publication{j, n + 1, at})
		}
	}
	slices.SortStableFunc(all, func(a, b publication) int { return cmp.Compare(a.at, b.at) })

	ctx, cancel := context.WithTimeoutCause(context.Background(), s.duration+publishBound,
		errors.New("the jobs can't be published"))
	defer cancel()
	next := make(chan publication)
	failed := make([]error, publishers)
	var group sync.WaitGroup
	for n := range publishers {
		group.Go(func() {
			for p := range next {
				if err := harness.Publish(ctx, s.js, p.messageID(), p.body(time.Now())); err != nil {
					failed[n] = errors.Join(failed[n], fmt.Errorf("publish %s: %w", p.id, err))
					continue
				}
				s.history.published(p.id, p.copy)
			}
		})
	}
	for _, p := range all {
		s.waitUntil(p.at)
		next <- p
	}
	close(next)
	group.Wait()
	return errors.Join(failed...)
}
