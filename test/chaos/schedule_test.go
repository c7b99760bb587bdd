package chaos

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// kind is what happens to the system.
type kind string

// The kinds of trouble. Each begins and, after a while, ends.
const (
	killWorker   kind = "worker killed"        // kill -9, and started again
	stopWorker   kind = "worker stopped"       // SIGTERM, and started again
	freezeWorker kind = "worker frozen"        // SIGSTOP, SIGCONT
	killBroker   kind = "broker killed"        // kill -9, and started again
	stopBroker   kind = "broker stopped"       // SIGTERM, and started again
	freezeBroker kind = "broker frozen"        // SIGSTOP, SIGCONT
	election     kind = "leader steps down"    // of a stream, a bucket or the consumer; on a cluster
	cutBroker    kind = "link to broker cut"   // of one worker
	stallBroker  kind = "link to broker stuck" // of one worker
	cutAliyun    kind = "link to Aliyun cut"   // of one worker
	stallAliyun  kind = "link to Aliyun stuck" // of one worker
	fault        kind = "Aliyun misbehaves"
	balance      kind = "balance used up"  // for the whole account
	replay       kind = "operator replays" // worker dlq replay; killed -9 where it lasts longer
)

// kinds in a fixed order, so that a seed always draws the same.
var kinds = []kind{
	killWorker, stopWorker, freezeWorker, killBroker, stopBroker, freezeBroker, election,
	cutBroker, stallBroker, cutAliyun, stallAliyun, fault, balance, replay,
}

// lasting is how long a trouble lasts: from, to. Freezes go beyond the lease.
var lasting = map[kind][2]time.Duration{
	killWorker:   {0, time.Second},
	stopWorker:   {500 * time.Millisecond, 2 * time.Second},
	freezeWorker: {200 * time.Millisecond, 3 * lease},
	killBroker:   {0, 2 * time.Second},
	stopBroker:   {time.Second, 3 * time.Second},
	freezeBroker: {200 * time.Millisecond, 2 * lease},
	election:     {0, time.Millisecond},
	cutBroker:    {100 * time.Millisecond, 2 * lease},
	stallBroker:  {200 * time.Millisecond, 2 * lease},
	cutAliyun:    {100 * time.Millisecond, 3 * time.Second},
	stallAliyun:  {200 * time.Millisecond, 3 * time.Second},
	fault:        {300 * time.Millisecond, 3 * time.Second},
	balance:      {500 * time.Millisecond, 2 * time.Second},
	replay:       {100 * time.Millisecond, 3 * time.Second},
}

// faults are the ways in which Aliyun misbehaves, for a part of the calls.
var faults = []string{
	"hang,share=0.3",
	"accept_hang,share=0.3",
	"drop,share=0.5",
	"accept_drop,share=0.5",
	"reset,share=0.5",
	"accept_reset,share=0.5",
	"throttle,share=0.7",
	"html502,share=0.5",
	"accept_html502,share=0.5",
	"garbage,share=0.5",
	"accept_garbage,share=0.5",
	"empty,share=0.5",
	"accept_empty,share=0.5",
	"code=ServiceUnavailable,share=0.7",
	"accept_code=InternalError,share=0.5",
	"code=isp.SYSTEM_ERROR,share=0.7",
	"slow,duration=2s,share=0.3",
	"latency=700ms,share=0.5",
	"accept_drop,lag=1s,share=0.5",
	"hang,action=QuerySendDetails,share=0.8",
	"garbage,action=QuerySendDetails,share=0.8",
	"html502,action=QuerySendDetails,share=0.8",
	"throttle,action=QuerySendDetails,share=0.8",
}

// event is one trouble: when it begins, how long it lasts, what it meets.
type event struct {
	kind   kind
	at     time.Duration
	lasts  time.Duration
	target uint64 // which worker or server, modulo how many there are
	fault  string
}

func (e event) String() string {
	return fmt.Sprintf("%s at %s for %s", e.kind, e.at.Round(time.Millisecond), e.lasts.Round(time.Millisecond))
}

// schedule draws the troubles of a run. Those of a kind are spread over the whole
// of it, each somewhere in a part of its own.
func schedule(s scale) []event {
	dice := rand.New(rand.NewPCG(s.seed, 1))
	var events []event
	for _, k := range kinds {
		n := s.counts[k]
		for i := range n {
			part := s.duration / time.Duration(n)
			span := lasting[k]
			events = append(events, event{
				kind:   k,
				at:     time.Duration(i)*part + time.Duration(dice.Int64N(int64(part))),
				lasts:  span[0] + time.Duration(dice.Int64N(int64(span[1]-span[0]))),
				target: dice.Uint64(),
				fault:  faults[dice.IntN(len(faults))],
			})
		}
	}
	slices.SortStableFunc(events, func(a, b event) int { return cmp.Compare(a.at, b.at) })
	return events
}

func TestScheduleIsRepeatable(t *testing.T) {
	t.Parallel()
	for _, s := range []scale{short, shortCluster, full} {
		s.seed = 7
		events := schedule(s)
		assert.Equal(t, events, schedule(s), "by its seed")
		other := s
		other.seed = 8
		assert.NotEqual(t, events, schedule(other))

		counts := map[kind]int{}
		for _, e := range events {
			counts[e.kind]++
			assert.Less(t, e.at, s.duration, e)
		}
		assert.Equal(t, s.counts, counts)
	}
	for _, k := range kinds {
		assert.Positive(t, full.counts[k], "every kind of trouble comes: %s", k)
	}
	assert.GreaterOrEqual(t, full.counts[killWorker]*len(longSeeds), 500)
	assert.GreaterOrEqual(t, (full.counts[killBroker]+full.counts[stopBroker])*len(longSeeds), 50)
	assert.GreaterOrEqual(t, full.jobs*len(longSeeds), 100_000)
}
