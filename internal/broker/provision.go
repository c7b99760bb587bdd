package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/retry"
)

// Kind is what an [Item] is.
type Kind string

// The kinds of items.
const (
	KindStream   Kind = "stream"
	KindBucket   Kind = "bucket"
	KindConsumer Kind = "consumer"
)

// State is how an [Item] was found.
type State string

// The states of an item.
const (
	StateCreated State = "created" // it was missing and has been created
	StateEqual   State = "equal"   // it is as the settings want it
	StateDiffers State = "differs" // it is there, and not as the settings want it; it was left alone
	StateMissing State = "missing" // it is missing, and creating it was not asked for
)

// Item is one thing that the worker needs of JetStream.
type Item struct {
	Kind        Kind         `json:"kind"`
	Name        string       `json:"name"`
	State       State        `json:"state"`
	Differences []Difference `json:"differences,omitempty"`
	// Request is the subject of the request that looks for it.
	Request string `json:"-"`
}

// Report says of each item how it was found, in the order of provisioning.
type Report struct {
	Items []Item `json:"items"`
}

// Usable reports whether nothing is missing. Items that differ are usable as far
// as the worker can tell; whether they should is for an operator to say.
func (r Report) Usable() bool {
	for _, item := range r.Items {
		if item.State == StateMissing {
			return false
		}
	}
	return true
}

// Provision looks at each stream, bucket and consumer of the topology, and where
// create is set makes those that are missing. What is there is never rewritten,
// whether equal or not: an update of a replicated work queue has cost waiting
// jobs (nats-server issue 5526), and a difference may well be an operator's
// intention. Several workers may provision at the same moment.
//
// An error names the thing and the right it takes; the report then holds what
// was found before it.
func Provision(ctx context.Context, js jetstream.JetStream, t Topology, create bool) (Report, error) {
	p := provisioner{js: js, policy: retry.Default(), create: create}
	var report Report
	for _, want := range t.needs() {
		item, err := p.item(ctx, want)
		switch {
		case err != nil && want.kind == KindConsumer:
			return report, fmt.Errorf("consumer %s of stream %s: %w", want.name, want.stream.Name, err)
		case err != nil:
			return report, fmt.Errorf("%s %s: %w", want.kind, want.name, err)
		}
		report.Items = append(report.Items, item)
	}
	return report, nil
}

// Inspect looks at each item of the topology as [Provision] does without create,
// and hands it over, or what kept it from being seen, in the same order. One that
// skip is true for is handed over unseen, without a state.
func Inspect(ctx context.Context, js jetstream.JetStream, t Topology, skip func(Item) bool, each func(Item, error)) {
	p := provisioner{js: js, policy: inspection}
	for _, want := range t.needs() {
		item, err := want.item(), error(nil)
		if !skip(item) {
			item, err = p.item(ctx, want)
		}
		each(item, err)
	}
}

// inspection is for somebody who looks on: a broker that doesn't answer within
// two tries is one to report.
var inspection = retry.Policy{Try: 2 * time.Second, Total: 5 * time.Second, First: 100 * time.Millisecond, Longest: time.Second}

// need is one thing of the topology, as the server is to have it.
type need struct {
	kind     Kind
	name     string
	stream   jetstream.StreamConfig   // of a stream, or the one behind a bucket
	consumer jetstream.ConsumerConfig // of a consumer, together with the name of its stream
}

// needs lists what the worker needs in the order of provisioning. The jobs come
// last: once they can be published, all that a worker needs to settle them is
// there.
func (t Topology) needs() []need {
	return []need{
		{kind: KindBucket, name: t.ResultsBucket, stream: t.results()},
		{kind: KindBucket, name: t.LimitsBucket, stream: t.limits()},
		{kind: KindStream, name: t.DeadStream, stream: t.dead()},
		{kind: KindStream, name: t.JobsStream, stream: t.jobs()},
		{kind: KindConsumer, name: t.JobsConsumer, stream: jetstream.StreamConfig{Name: t.JobsStream}, consumer: t.consumer()},
	}
}

// item is the need before it was looked for.
func (n need) item() Item {
	request := "STREAM.INFO." + n.stream.Name
	if n.kind == KindConsumer {
		request = "CONSUMER.INFO." + n.stream.Name + "." + n.name
	}
	return Item{Kind: n.kind, Name: n.name, Request: api(request)}
}

func (p provisioner) item(ctx context.Context, want need) (item Item, err error) {
	item = want.item()
	if want.kind == KindConsumer {
		item.State, item.Differences, err = p.consumer(ctx, want.stream.Name, want.consumer)
	} else {
		item.State, item.Differences, err = p.stream(ctx, want.stream)
	}
	return item, err
}

type provisioner struct {
	js     jetstream.JetStream
	policy retry.Policy
	create bool
}

// stream looks for a stream, and creates it where that is asked for. Where
// another worker creates it first, the next try finds it.
func (p provisioner) stream(ctx context.Context, want jetstream.StreamConfig) (state State, d []Difference, err error) {
	err = p.policy.Do(ctx, func(ctx context.Context) error {
		have, err := p.js.Stream(ctx, want.Name)
		switch {
		case err == nil:
			state, d = judge(compareStream(want, have.CachedInfo().Config))
			return nil
		case !errors.Is(err, jetstream.ErrStreamNotFound):
			return needs(err, "STREAM.INFO."+want.Name)
		case !p.create:
			state, d = StateMissing, nil
			return nil
		}
		_, err = p.js.CreateStream(ctx, want)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return fmt.Errorf("it was created meanwhile: %w: %w", err, retry.ErrAgain)
		}
		if err != nil {
			return needs(err, "STREAM.CREATE."+want.Name)
		}
		state, d = StateCreated, nil
		return nil
	})
	return state, d, err
}

func (p provisioner) consumer(ctx context.Context, stream string, want jetstream.ConsumerConfig) (state State, d []Difference, err error) {
	err = p.policy.Do(ctx, func(ctx context.Context) error {
		have, err := p.js.Consumer(ctx, stream, want.Durable)
		switch {
		case err == nil:
			state, d = judge(compareConsumer(want, have.CachedInfo().Config))
			return nil
		case errors.Is(err, jetstream.ErrNotPullConsumer):
			state, d = StateDiffers, []Difference{{Field: "deliver_subject", Want: "none (a pull consumer)", Have: "set (a push consumer)"}}
			return nil
		case errors.Is(err, jetstream.ErrStreamNotFound) && !p.create:
			state, d = StateMissing, nil
			return nil
		case !errors.Is(err, jetstream.ErrConsumerNotFound):
			return needs(err, "CONSUMER.INFO."+stream+"."+want.Durable)
		case !p.create:
			state, d = StateMissing, nil
			return nil
		}
		_, err = p.js.CreateConsumer(ctx, stream, want)
		if errors.Is(err, jetstream.ErrConsumerExists) {
			return fmt.Errorf("it was created meanwhile: %w: %w", err, retry.ErrAgain)
		}
		if err != nil {
			return needs(err, "CONSUMER.CREATE."+stream+"."+want.Durable+"."+want.FilterSubject)
		}
		state, d = StateCreated, nil
		return nil
	})
	return state, d, err
}

func judge(d []Difference) (State, []Difference) {
	if len(d) > 0 {
		return StateDiffers, d
	}
	return StateEqual, nil
}

// needs adds the right that a request takes. A server that denies it does not
// say so in an answer: the request goes unanswered, and the reason stands in the
// connection's log.
func needs(err error, request string) error {
	if errors.Is(err, nats.ErrNoResponders) {
		return fmt.Errorf("%w (nobody answers JetStream requests: is it enabled on the server and for this account?)", err)
	}
	return fmt.Errorf("%w (needs the right to publish to $JS.API.%s)", err, request)
}
