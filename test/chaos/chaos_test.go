// Package chaos tries to break the program's promise: each request ends in exactly
// one outcome, whatever dies.
//
// It runs real processes: workers, nats-server and the emulator of Aliyun. While a
// known set of jobs is published, a schedule drawn from a seed kills, freezes and
// restarts them, cuts and stalls links, makes Aliyun hang, drop, throttle and
// answer nonsense, and has operators replay dead letters. Then the system is left
// in peace until it settles, and what became of the jobs is read from outside
// alone: what was announced, the records, the dead letters and the emulator's log.
//
// The same seed repeats the same schedule, though not the very moment in which
// something died. -short and the plain test are one small run; -long is the run of
// docs/guarantees.md:
//
//	go test ./test/chaos -run TestChaos -v -timeout 3h -long
package chaos

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/test/defects"
	"github.com/passcode-worker/passcode-worker/test/harness"
)

var (
	long     = flag.Bool("long", false, "the long run: several seeds, hours of trouble in minutes")
	seed     = flag.Uint64("seed", 0, "run this seed alone")
	nodes    = flag.Int("nodes", 1, "NATS servers; 3 make a cluster with three replicas of everything")
	defect   = flag.String("defect", "", "run a worker with this defect of test/defects, which the run should catch")
	keepLogs = flag.String("logs", "", "a folder for the history of each seed, also of one that passes")
)

// scale is how much happens in the run of one seed.
type scale struct {
	seed     uint64
	jobs     int
	duration time.Duration // of publishing and trouble
	workers  int
	nodes    int
	counts   map[kind]int // how often each trouble comes
}

// The runs of every day, and each seed of the long one. With the long one's five
// seeds a worker is killed more than 500 times, and the broker restarted more
// than 50 times.
var (
	short = scale{
		jobs: 1500, duration: 20 * time.Second, workers: 3,
		counts: map[kind]int{
			killWorker: 14, stopWorker: 2, freezeWorker: 4,
			killBroker: 2, stopBroker: 1, freezeBroker: 1,
			cutBroker: 3, stallBroker: 2, cutAliyun: 2, stallAliyun: 2,
			fault: 6, balance: 1, replay: 4,
		},
	}
	// On a cluster leaders change in the middle of every kind of write.
	shortCluster = scale{
		jobs: 800, duration: 15 * time.Second, workers: 2, nodes: 3,
		counts: map[kind]int{
			killWorker: 5, freezeWorker: 2, killBroker: 1, freezeBroker: 1, election: 20,
			cutBroker: 2, stallBroker: 1, cutAliyun: 1, fault: 4, replay: 2,
		},
	}
	full = scale{
		jobs: 20_000, duration: 150 * time.Second, workers: 4,
		counts: map[kind]int{
			killWorker: 105, stopWorker: 10, freezeWorker: 25,
			killBroker: 10, stopBroker: 4, freezeBroker: 3, election: 60,
			cutBroker: 15, stallBroker: 12, cutAliyun: 12, stallAliyun: 12,
			fault: 30, balance: 3, replay: 20,
		},
	}
	longSeeds = []uint64{1, 2, 3, 4, 5}
)

func TestChaos(t *testing.T) {
	t.Parallel()
	s, seeds := short, []uint64{1}
	if *long {
		s, seeds = full, longSeeds
	}
	s.nodes = *nodes
	each(t, s, seeds)
}

func TestChaosOnACluster(t *testing.T) {
	t.Parallel()
	each(t, shortCluster, []uint64{1})
}

// each runs each seed, or the one that was asked for.
func each(t *testing.T, s scale, seeds []uint64) {
	if *seed != 0 {
		seeds = []uint64{*seed}
	}
	var total summary
	for _, n := range seeds {
		s.seed = n
		// One after the other: each wants the machine for itself. The name ends in a
		// letter, lest its folder's name looks like a phone number.
		ok := t.Run(fmt.Sprintf("seed=%d run", n), func(t *testing.T) { total.add(run(t, s)) })
		if !ok {
			break
		}
	}
	t.Logf("%d seeds on %d NATS servers: %s", len(seeds), s.nodes, total)
}

// run breaks a system as the scale says and checks what became of the jobs.
func run(t *testing.T, s scale) summary {
	t.Helper()
	began := time.Now()
	t.Logf("seed %d: %d jobs in %s, %d workers, %d NATS servers", s.seed, s.jobs, s.duration, s.workers, s.nodes)
	jobs := newJobs(s)
	sys := start(t, s, jobs)
	sys.history.add("driver", "begins, with seed %d", s.seed)

	published := make(chan error, 1)
	go func() { published <- sys.publish(jobs) }()
	sys.play(schedule(s))
	require.NoError(t, <-published, "every job is acknowledged in the end")
	sys.heal()
	sys.untilSettled()
	sys.replayAll()

	seen := sys.observe(jobs)
	broken := seen.violations()
	sum := seen.summary()
	sum.done, sum.took = sys.done, time.Since(began)
	t.Logf("seed %d: %s", s.seed, sum)
	if len(broken) > 0 || *keepLogs != "" {
		sys.writeHistory(seen, broken)
	}
	for _, v := range broken[:min(len(broken), shownViolations)] {
		t.Errorf("seed %d: %s\n%s", s.seed, v, sys.journey(seen, v.id))
	}
	if more := len(broken) - shownViolations; more > 0 {
		t.Errorf("seed %d: and %d more", s.seed, more)
	}
	return sum
}

// program is the worker's binary, with the defect that was asked for.
func program(t *testing.T) string {
	t.Helper()
	if *defect == "" {
		return harness.BuildWorker(t)
	}
	d, ok := defects.Named(*defect)
	require.True(t, ok, "no defect in test/defects is named %q", *defect)
	root, err := harness.Root()
	require.NoError(t, err)
	overlay, err := d.Overlay(root, t.TempDir())
	require.NoError(t, err)
	bin, err := harness.Build(harness.Target{Name: "worker-defective", Package: "./cmd/worker", Overlay: overlay})
	require.NoError(t, err)
	return bin
}

// shownViolations is how many of them a failing run tells at length.
const shownViolations = 5

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(m.Run())
}
