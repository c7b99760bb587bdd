package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"

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

// Usable reports whether nothing is missing.
func (r Report) Usable() bool {
	return !slices.ContainsFunc(r.Items, func(item Item) bool { return item.State == StateMissing })
}

// Provision looks at each stream, bucket and consumer of the topology, and where
// create is set makes those that are missing. What is there is never rewritten: an
// update of a replicated work queue has cost waiting jobs (nats-server issue 5526),
// and a difference may be an operator's intention. Several workers may provision at
// the same moment.
//
// An error names the item and the right that it takes; the report holds what was
// found before it.
func Provision(ctx context.Context, js jetstream.JetStream, t Topology, create bool) (Report, error) {
	var report Report
	for _, n := range t.needs() {
		item, err := n.provision(ctx, js, create)
		if err != nil {
			return report, fmt.Errorf("%s %s: %w", n.kind, n.name, err)
		}
		report.Items = append(report.Items, item)
	}
	return report, nil
}

// Inspect looks at each item of the topology in the order of provisioning, and
// passes it on with what kept it from being seen. One that skip is true for is
// passed on unseen, without a state.
func Inspect(ctx context.Context, js jetstream.JetStream, t Topology, skip func(Item) bool, each func(Item, error)) {
	for _, n := range t.needs() {
		item, err := n.item(), error(nil)
		if !skip(item) {
			ctx, cancel := retry.Inspect.Context(ctx, nil)
			item, err = n.provision(ctx, js, false)
			cancel()
		}
		each(item, err)
	}
}

// need is one thing of the topology, as the server is to have it.
type need struct {
	kind     Kind
	name     string
	stream   jetstream.StreamConfig // for a bucket the one behind it, for a consumer its name alone
	consumer jetstream.ConsumerConfig
}

// needs lists what the worker needs in the order of provisioning. The jobs come
// last: once they can be published, all that settles them is there.
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

// provision looks for the thing, and creates it where that is asked for. Where
// another worker creates it first, the next try finds it.
func (n need) provision(ctx context.Context, js jetstream.JetStream, create bool) (Item, error) {
	item := n.item()
	err := retry.Do(ctx, func(ctx context.Context) error {
		found, err := n.look(ctx, js)
		switch {
		case err == nil && len(found) == 0:
			item.State = StateEqual
			return nil
		case err == nil:
			item.State, item.Differences = StateDiffers, found
			return nil
		case !errors.Is(err, jetstream.ErrStreamNotFound) && !errors.Is(err, jetstream.ErrConsumerNotFound):
			return withRight(err, item.Request)
		case !create:
			item.State = StateMissing
			return nil
		}
		if err = n.create(ctx, js); err == nil {
			item.State = StateCreated
		}
		return err
	})
	return item, err
}

// look returns how the thing differs from the need, or that it isn't there.
func (n need) look(ctx context.Context, js jetstream.JetStream) ([]Difference, error) {
	if n.kind != KindConsumer {
		have, err := js.Stream(ctx, n.stream.Name)
		if err != nil {
			return nil, err
		}
		return compareStream(n.stream, have.CachedInfo().Config), nil
	}
	have, err := js.Consumer(ctx, n.stream.Name, n.name)
	switch {
	case errors.Is(err, jetstream.ErrNotPullConsumer):
		return []Difference{{Field: "deliver_subject", Want: "none (a pull consumer)", Have: "set (a push consumer)"}}, nil
	case err != nil:
		return nil, err
	}
	return compareConsumer(n.consumer, have.CachedInfo().Config), nil
}

func (n need) create(ctx context.Context, js jetstream.JetStream) (err error) {
	request := "STREAM.CREATE." + n.stream.Name
	if n.kind == KindConsumer {
		request = "CONSUMER.CREATE." + n.stream.Name + "." + n.name + "." + n.consumer.FilterSubject
		_, err = js.CreateConsumer(ctx, n.stream.Name, n.consumer)
	} else {
		_, err = js.CreateStream(ctx, n.stream)
	}
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) || errors.Is(err, jetstream.ErrConsumerExists) {
		return fmt.Errorf("it was created meanwhile: %w: %w", err, retry.ErrAgain)
	}
	return withRight(err, api(request))
}

// withRight adds the right that a request takes. A server that denies it doesn't
// answer; the reason stands in the connection's log.
func withRight(err error, request string) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, nats.ErrNoResponders) {
		return fmt.Errorf("%w (nobody answers JetStream requests: is it enabled on the server and for this account?)", err)
	}
	return fmt.Errorf("%w (needs the right to publish to %s)", err, request)
}
