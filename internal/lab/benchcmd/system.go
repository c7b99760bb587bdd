package benchcmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/app"
	"github.com/passcode-worker/passcode-worker/internal/broker"
	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/internal/config"
	"github.com/passcode-worker/passcode-worker/internal/jobs"
	"github.com/passcode-worker/passcode-worker/internal/lab/bench"
	"github.com/passcode-worker/passcode-worker/internal/lab/emulator"
	"github.com/passcode-worker/passcode-worker/internal/lab/system"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// benchStart bounds how long the start of the system may take, benchStop the end
// of the broker: with a million records on a busy machine it was seen to take
// more than five seconds.
const (
	benchStart = 30 * time.Second
	benchStop  = time.Minute
)

// benchKeep is how long the emulator keeps a message: much longer than the bench
// takes to read it, and than a worker takes to ask for it.
const benchKeep = 2 * time.Minute

// benchSystem is what is measured: workers and an emulated Aliyun in processes
// of their own, and a broker in this one.
type benchSystem struct {
	e        *command.Env
	cfg      config.Config
	dir      string
	embedded *broker.Embedded
	link     *app.Link
	children []*benchChild // in the order of their start
	emulator *benchChild
	endpoint string   // of the emulator
	metrics  []string // addresses of the workers' /metrics
	http     *http.Client
}

func startBench(e *command.Env, b *Cmd, cfg config.Config) (*benchSystem, error) {
	dir, err := os.MkdirTemp(b.Dir, "passcode-bench-")
	if err != nil {
		return nil, err
	}
	s := &benchSystem{e: e, dir: dir, http: &http.Client{Transport: &http.Transport{}}}
	if err := s.open(b, cfg); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *benchSystem) open(b *Cmd, cfg config.Config) (err error) {
	quiet := slog.New(slog.DiscardHandler)
	s.embedded, err = broker.StartEmbedded(broker.EmbeddedOptions{
		Listen: "127.0.0.1:0", StoreDir: filepath.Join(s.dir, "nats"), Log: quiet,
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(s.e.Stop, benchStart, fmt.Errorf("the system did not start within %s", benchStart))
	defer cancel()
	s.emulator, err = s.start("emulator", "--listen", "127.0.0.1:0", "--latency", b.Latency.String(), "--keep", benchKeep.String())
	if err != nil {
		return err
	}
	address, err := s.emulator.says(ctx, "listening on http://")
	if err != nil {
		return err
	}
	s.endpoint = address

	s.cfg = benchSettings(cfg, s.embedded.URL(), s.endpoint)
	s.link, err = app.Dial(ctx, s.cfg.NATS, s.embedded.URL(), "bench", broker.CommandInbox, quiet)
	if err != nil {
		return err
	}
	if err := broker.WaitConnected(ctx, s.link.NC); err != nil {
		return err
	}
	// Streams are made before the workers come, so that these don't meet over it.
	if _, err := broker.Provision(ctx, s.link.JS, app.Topology(s.cfg), true); err != nil {
		return err
	}
	if err := s.writeSettings(); err != nil {
		return err
	}
	for range b.Workers {
		if err := s.startWorker(ctx); err != nil {
			return err
		}
	}
	return nil
}

// benchSettings are the settings of a worker that reaches nothing but the bench's
// own broker and emulator.
func benchSettings(theirs config.Config, natsURL, endpoint string) config.Config {
	cfg := config.Default()
	cfg.Worker, cfg.Retry, cfg.Limits.Phone = theirs.Worker, theirs.Retry, theirs.Limits.Phone
	cfg.Jobs.MaxBytes, cfg.Results.Retention = theirs.Jobs.MaxBytes, theirs.Results.Retention
	cfg.NATS.URL = config.NewServerURLs(natsURL)
	own, given := &cfg.Aliyun, theirs.Aliyun
	own.ConnectTimeout, own.Timeout, own.MaxQPS, own.InDoubt = given.ConnectTimeout, given.Timeout, given.MaxQPS, given.InDoubt
	own.Endpoint, own.Protocol = endpoint, "http"
	own.SignName = "Bench"
	own.Templates = []config.Template{{UsageType: "Generic", TemplateCode: config.TemplateCode{China: "SMS_100000001", Overseas: "SMS_100000001"}}}
	cfg.HTTP.Listen = "127.0.0.1:0"
	return cfg
}

// settingsFile is where the workers find their settings: in their folder, under
// the name that they look for.
const settingsFile = "worker.yaml"

func (s *benchSystem) writeSettings() error {
	file, err := os.Create(filepath.Join(s.dir, settingsFile))
	if err != nil {
		return err
	}
	return errors.Join(config.Print(file, s.cfg), file.Close())
}

// start starts this program once more, with another command.
func (s *benchSystem) start(args ...string) (*benchChild, error) {
	env := append(system.OwnEnviron(s.e.Environ),
		"PASSCODE_ALIYUN__ACCESS_KEY_ID="+emulator.DefaultAccessKeyID,
		"PASSCODE_ALIYUN__ACCESS_KEY_SECRET="+emulator.DefaultAccessKeySecret)
	c := &benchChild{name: args[0], said: newListener()}
	var err error
	if c.Child, err = system.StartSelf(s.dir, env, c.said, args...); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.name, err)
	}
	s.children = append(s.children, c)
	return c, nil
}

func (s *benchSystem) startWorker(ctx context.Context) error {
	w, err := s.start("run")
	if err != nil {
		return err
	}
	address, err := w.says(ctx, `"msg":"HTTP listens"`, `"address":"`)
	if err != nil {
		return err
	}
	s.metrics = append(s.metrics, address)
	_, err = w.says(ctx, `"msg":"ready"`)
	return err
}

// close takes the system down, the last started first.
func (s *benchSystem) close() {
	for i := len(s.children) - 1; i >= 0; i-- {
		s.children[i].Stop()
	}
	s.http.CloseIdleConnections()
	if s.link != nil {
		s.link.NC.Close()
	}
	if s.embedded != nil {
		ctx, cancel := context.WithTimeoutCause(context.Background(), benchStop, fmt.Errorf("took longer than %s", benchStop))
		defer cancel()
		if err := s.embedded.Stop(ctx); err != nil {
			show.Say(s.e.Stderr, "worker bench: %v", err)
		}
	}
	if err := os.RemoveAll(s.dir); err != nil {
		show.Say(s.e.Stderr, "worker bench: %v", err)
	}
}

// died says which of the processes has ended that should run.
func (s *benchSystem) died() error {
	for _, c := range s.children {
		select {
		case <-c.Done:
			return c.ended()
		default:
		}
	}
	return nil
}

// usage asks every worker for its /metrics, and the operating system for the
// others. Where one doesn't answer, nothing is known of the workers.
func (s *benchSystem) usage(ctx context.Context) (workers, emulator, rest bench.Usage) {
	for _, address := range s.metrics {
		var u bench.Usage
		err := s.get(ctx, "http://"+address+"/metrics", func(body io.Reader) (err error) {
			u, err = bench.ParseMetrics(body)
			return err
		})
		if err != nil {
			workers = bench.Usage{}
			break
		}
		workers = workers.Plus(u)
	}
	return workers, bench.ProcessUsage(s.emulator.Cmd.Process.Pid), bench.ProcessUsage(os.Getpid())
}

// accepted has the auditor read what the emulator accepted since it last did.
func (s *benchSystem) accepted(ctx context.Context, auditor *bench.Auditor) error {
	url := fmt.Sprintf("http://%s/_/sent?after=%d", s.endpoint, auditor.Accepted())
	return s.get(ctx, url, func(body io.Reader) error {
		return auditor.Read(body)
	})
}

func (s *benchSystem) get(ctx context.Context, url string, read func(io.Reader) error) error {
	return s.ask(ctx, http.MethodGet, url, read)
}

// ask makes a request without a body, and has the answer read.
func (s *benchSystem) ask(ctx context.Context, method, url string, read func(io.Reader) error) error {
	request, err := http.NewRequestWithContext(ctx, method, url, http.NoBody)
	if err != nil {
		return err
	}
	response, err := s.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close() //nolint:errcheck // only read
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	return read(response.Body)
}

// lookUp reads the records of the jobs whose final result was not heard: what is
// announced may get lost on its way, what is recorded may not.
func (s *benchSystem) lookUp(ctx context.Context, requests bench.Requests, book *bench.Book) {
	bucket, err := s.link.JS.KeyValue(ctx, s.cfg.Results.Bucket)
	if err != nil {
		return // those jobs count as lost, which is as much as is known
	}
	for _, i := range book.Open() {
		entry, err := bucket.Get(ctx, requests.ID(i))
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			continue
		}
		if r, ok := decodeBenchResult(entry.Value()); ok && r.Final {
			book.Ended(i, r.Status, time.Now())
		}
	}
}

// benchPublishes is how often a job is published until the stream has said that
// it has it. It drops a repeat by its message id.
const benchPublishes = 5

// publish has the stream take a job, as a careful producer does.
func (s *benchSystem) publish(ctx context.Context, job passcode.Job) (err error) {
	for range benchPublishes {
		bounded, cancel := context.WithTimeoutCause(ctx, command.Patience, fmt.Errorf("no answer within %s", command.Patience))
		_, err = jobs.Publish(bounded, s.link.JS, s.cfg.Jobs.Subject, job)
		cancel()
		if err == nil || !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
	}
	return err
}

func decodeBenchResult(data []byte) (benchResult, bool) {
	var r benchResult
	err := json.Unmarshal(data, &r)
	return r, err == nil
}
