package chaos

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/test/brokertest"
	"github.com/passcode-worker/passcode-worker/test/harness"
)

const (
	// lease is the workers' ack_wait.
	lease = 3 * time.Second
	// callTimeout is the workers' aliyun.timeout.
	callTimeout = time.Second
	// readyWithin bounds the start of a process under the race detector, on a
	// machine that is busy with its neighbours.
	readyWithin = time.Minute
	// settleWithin bounds how long the system may take, left in peace, until no
	// job is left: leases, look-ups and retries of the last trouble.
	settleWithin = 3 * time.Minute
	// askTimeout bounds one question to the broker.
	askTimeout = 5 * time.Second
)

// settings are the workers', with times that a test can wait for.
var settings = map[string]string{
	"PASSCODE_LIMITS__PHONE":             fmt.Sprintf(`["%d/1h"]`, perPhone),
	"PASSCODE_WORKER__ACK_WAIT":          lease.String(),
	"PASSCODE_WORKER__CONCURRENCY":       "64",
	"PASSCODE_WORKER__SHUTDOWN_TIMEOUT":  "5s",
	"PASSCODE_RETRY__INITIAL_INTERVAL":   "100ms",
	"PASSCODE_RETRY__MAX_INTERVAL":       "1s",
	"PASSCODE_RETRY__MAX_ATTEMPTS":       "8",
	"PASSCODE_ALIYUN__TIMEOUT":           callTimeout.String(),
	"PASSCODE_ALIYUN__CONNECT_TIMEOUT":   "500ms",
	"PASSCODE_ALIYUN__IN_DOUBT__LOOKUPS": `["500ms","1s","2s"]`,
}

// system is all that runs. Its methods are for the test's own goroutine, but for
// publishing.
type system struct {
	scale
	t        *testing.T
	bin      string
	natsBin  string
	natsDir  string
	began    time.Time
	behind   atomic.Int64 // nanoseconds by which the schedule is late
	history  *history
	brokers  []*broker
	workers  []*worker
	emulator *harness.Emulator
	js       jetstream.JetStream
	heard    heard
	faults   map[string]int // by SPEC, how many events have set it
	done     map[string]int // what happened, by name
	operator []*harness.Process
}

// broker is one nats-server and its store.
type broker struct {
	name   string
	args   []string
	port   int
	proc   *harness.Process
	frozen bool
	// listener hears what is announced at this server.
	listener *nats.Conn
}

func (b *broker) address() string { return "127.0.0.1:" + strconv.Itoa(b.port) }
func (b *broker) url() string     { return "nats://" + b.address() }

// worker is a place for a worker, with links of its own.
type worker struct {
	name     string
	toBroker []*road // to each server
	toAliyun *road
	proc     *harness.Process
	all      []*harness.Process // every process that ever stood here
}

// road is a link in which several troubles may overlap.
type road struct {
	*harness.Link
	cuts, stalls int
}

func (r *road) cut(by int)   { r.cuts += by; r.become() }
func (r *road) stall(by int) { r.stalls += by; r.become() }

func (r *road) become() {
	switch {
	case r.cuts > 0:
		r.Cut()
	case r.stalls > 0:
		r.Stall()
	default:
		r.Restore()
	}
}

// start starts a system that is whole.
func start(t *testing.T, s scale, jobs []job) *system {
	t.Helper()
	sys := &system{
		scale: s, t: t, bin: program(t), natsDir: t.TempDir(), began: time.Now(),
		history: newHistory(), faults: map[string]int{}, done: map[string]int{},
	}
	var err error
	sys.natsBin, err = harness.Build(harness.Target{Name: "nats-server", Package: "github.com/nats-io/nats-server/v2"})
	require.NoError(t, err)
	sys.emulator = harness.StartEmulator(t, sys.bin, "--latency", "20ms")
	sys.emulator.Forbid(code)
	for _, j := range jobs {
		if j.flavour == refused {
			sys.faults["code=isv.SMS_TEMPLATE_ILLEGAL,phone="+j.phone]++
		}
	}
	sys.setFaults()
	sys.startBrokers()
	js, err := jetstream.New(connect(t, sys.urls()))
	require.NoError(t, err)
	sys.js = js
	for i := range s.workers {
		w := &worker{
			name:     fmt.Sprintf("worker-%d", i+1),
			toAliyun: &road{Link: harness.StartLink(t, strings.TrimPrefix(sys.emulator.URL, "http://"))},
		}
		w.toAliyun.GiveUpAfter(callTimeout) // as the workers tell their kernel
		for _, b := range sys.brokers {
			w.toBroker = append(w.toBroker, &road{Link: harness.StartLink(t, b.address())})
		}
		sys.workers = append(sys.workers, w)
		sys.startWorker(w)
	}
	sys.workers[0].proc.WaitFor(`"msg":"ready"`, readyWithin)
	sys.listen()
	sys.began = time.Now()
	return sys
}

// startBrokers starts one server, or a cluster.
func (s *system) startBrokers() {
	ports := make([]int, 2*s.nodes)
	for i := range ports {
		ports[i] = brokertest.FreePort(s.t)
	}
	clients, routes := ports[:s.nodes], ports[s.nodes:]
	var all []string
	for _, port := range routes {
		all = append(all, fmt.Sprintf("nats://127.0.0.1:%d", port))
	}
	for i, port := range clients {
		b := &broker{name: fmt.Sprintf("nats-%d", i+1), port: port}
		// sync_interval stays at its default: what a process wrote outlives it.
		text := fmt.Sprintf("server_name: %s\nlisten: 127.0.0.1:%d\njetstream { store_dir: %q }\n",
			b.name, port, filepath.Join(s.natsDir, b.name))
		if s.nodes > 1 {
			// Not advertised, so that clients know no way around their links.
			text += fmt.Sprintf("cluster { name: chaos, listen: 127.0.0.1:%d, no_advertise: true, routes: [%s] }\n",
				routes[i], strings.Join(all, ", "))
		}
		file := filepath.Join(s.natsDir, b.name+".conf")
		require.NoError(s.t, os.WriteFile(file, []byte(text), 0o600))
		b.args = []string{"-c", file}
		s.brokers = append(s.brokers, b)
		s.startBroker(b)
	}
	for _, b := range s.brokers {
		b.proc.WaitFor("Server is ready", readyWithin)
	}
}

func (s *system) startBroker(b *broker) {
	b.proc, b.frozen = harness.StartWorker(s.t, s.natsBin, nil, b.args...), false
	b.proc.Forbid(code)
	b.proc.Hush()
}

// urls are the servers', past every link.
func (s *system) urls() (urls []string) {
	for _, b := range s.brokers {
		urls = append(urls, b.url())
	}
	return urls
}

// connect returns a connection that never gives up.
func connect(t *testing.T, urls []string, options ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(strings.Join(urls, ","), append([]nats.Option{
		nats.MaxReconnects(-1), nats.ReconnectWait(20 * time.Millisecond), nats.ReconnectJitter(0, 0),
		nats.PingInterval(2 * time.Second), nats.MaxPingsOutstanding(2),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // connections break here all the time
	}, options...)...)
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	return nc
}

func (s *system) startWorker(w *worker) {
	var urls []string
	for _, link := range w.toBroker {
		urls = append(urls, "nats://"+link.Addr())
	}
	env := harness.WorkerEnv(strings.Join(urls, ","), w.toAliyun.Addr())
	for name, value := range settings {
		env[name] = value
	}
	env["PASSCODE_NATS__REPLICAS"] = strconv.Itoa(s.nodes)
	w.proc = harness.StartWorker(s.t, s.bin, env, "run")
	w.proc.Forbid(code, harness.AccessKeySecret)
	w.proc.Hush()
	w.all = append(w.all, w.proc)
}

// up reports whether a process runs.
func up(p *harness.Process) bool {
	select {
	case <-p.Done():
		return false
	default:
		return true
	}
}

// tell sends a signal to a process that may have gone.
func tell(p *harness.Process, sig syscall.Signal) {
	if up(p) {
		_ = syscall.Kill(p.PID(), sig) // it may go at this moment
	}
}

// waitUntil waits until so long after the beginning, by the clock of the schedule.
func (s *system) waitUntil(at time.Duration) {
	for {
		wait := at + time.Duration(s.behind.Load()) - time.Since(s.began)
		if wait <= 0 {
			return
		}
		<-time.After(wait)
	}
}

// catchUp has the clock of the schedule stand still for as long as a step took that
// should have been over: jobs are published until the last trouble, however slow the
// machine is.
func (s *system) catchUp(at time.Duration) {
	if behind := time.Since(s.began) - at; behind > time.Duration(s.behind.Load()) {
		s.behind.Store(int64(behind))
	}
}

func (s *system) setFaults() {
	var specs []string
	for spec, n := range s.faults {
		if n > 0 {
			specs = append(specs, spec)
		}
	}
	s.emulator.SetFaults(strings.Join(specs, "\n"))
}

// heal brings back what is away. Every event is over already.
func (s *system) heal() {
	s.history.add("driver", "everything is restored")
	s.faults = map[string]int{}
	s.emulator.SetFaults("")
	for _, w := range s.workers {
		tell(w.proc, syscall.SIGCONT)
		if !up(w.proc) {
			s.startWorker(w)
		}
	}
	for _, p := range s.operator {
		p.Kill()
	}
	s.command("resume")
}

// command runs one of the operator's commands, past every link, to its end.
func (s *system) command(args ...string) *harness.Process {
	p := s.beginCommand(args...)
	p.Wait(settleWithin)
	return p
}

func (s *system) beginCommand(args ...string) *harness.Process {
	env := harness.WorkerEnv(strings.Join(s.urls(), ","), strings.TrimPrefix(s.emulator.URL, "http://"))
	p := harness.StartWorker(s.t, s.bin, env, args...)
	p.Forbid(code, harness.AccessKeySecret)
	p.Hush()
	return p
}

// untilSettled waits until no job is left in the stream, taken or not. A worker
// that left by itself is started again, as a supervisor would.
func (s *system) untilSettled() {
	s.t.Helper()
	var last string
	deadline := time.Now().Add(settleWithin)
	for time.Now().Before(deadline) {
		for _, w := range s.workers {
			if !up(w.proc) {
				s.startWorker(w)
			}
		}
		left, err := s.left()
		if err == nil && left == 0 {
			s.history.add("driver", "no job is left")
			return
		}
		last = fmt.Sprintf("%d jobs, %v", left, err)
		<-time.After(100 * time.Millisecond)
	}
	s.t.Errorf("jobs are left in the stream %s after all was restored: %s", settleWithin, last)
}

// left is how many jobs the stream holds.
func (s *system) left() (uint64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	stream, err := s.js.Stream(ctx, "PASSCODE")
	if err != nil {
		return 0, err
	}
	return stream.CachedInfo().State.Msgs, nil
}
