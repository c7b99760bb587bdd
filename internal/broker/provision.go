package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/config"
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

// Role is what an [Item] is for.
type Role string

// The roles of items.
const (
	Results  Role = "results"
	Limits   Role = "limits"
	Dead     Role = "dead"
	Jobs     Role = "jobs"
	Consumer Role = "consumer"
)

// Item is one thing that the worker needs of JetStream.
type Item struct {
	Kind        Kind         `json:"kind"`
	Name        string       `json:"name"`
	State       State        `json:"state"`
	Differences []Difference `json:"differences,omitempty"`

	Role   Role   `json:"-"`
	Stream string `json:"-"` // its own name, that of the stream behind a bucket, or that which a consumer is of

	stream   jetstream.StreamConfig // as the server is to have it; of a stream or bucket
	consumer jetstream.ConsumerConfig
}

// Request is the subject of the request that looks for the item.
func (i Item) Request() string {
	if i.Kind == KindConsumer {
		return api("CONSUMER.INFO." + i.Stream + "." + i.Name)
	}
	return api("STREAM.INFO." + i.Stream)
}

// Provision looks at each stream, bucket and consumer that the settings want, and where create is set makes those
// that are missing. What is there is never rewritten: an update of a replicated work queue has cost waiting jobs
// (nats-server issue 5526), and a difference may be an operator's intention. Several workers may provision at the
// same moment. See [Items] for limitsTTL.
//
// An error names the item and the right that it takes; what was found before it is returned too.
func Provision(ctx context.Context, js jetstream.JetStream, cfg config.Config, limitsTTL time.Duration, create bool) ([]Item, error) {
	items := Items(cfg, limitsTTL)
	for i := range items {
		if err := items[i].provision(ctx, js, create); err != nil {
			return items[:i], fmt.Errorf("%s %s: %w", items[i].Kind, items[i].Name, err)
		}
	}
	return items, nil
}

// Inspect looks at the item, for an operator who waits.
func (i *Item) Inspect(ctx context.Context, js jetstream.JetStream) error {
	return i.provision(retry.Inspect.Context(ctx), js, false)
}

// provision looks for the item, and creates it where that is asked for. Where
// another worker creates it first, the next try finds it.
func (i *Item) provision(ctx context.Context, js jetstream.JetStream, create bool) error {
	return retry.Do(ctx, func(ctx context.Context) (err error) {
		i.Differences, err = i.look(ctx, js)
		switch {
		case err == nil && len(i.Differences) == 0:
			i.State = StateEqual
		case err == nil:
			i.State = StateDiffers
		case !errors.Is(err, jetstream.ErrStreamNotFound) && !errors.Is(err, jetstream.ErrConsumerNotFound):
			return withRight(err, i.Request())
		case !create:
			i.State = StateMissing
		default:
			i.State = StateCreated
			return i.create(ctx, js)
		}
		return nil
	})
}

// look returns how the item differs from what the settings want, or that it isn't there.
func (i *Item) look(ctx context.Context, js jetstream.JetStream) ([]Difference, error) {
	if i.Kind != KindConsumer {
		have, err := js.Stream(ctx, i.Stream)
		if err != nil {
			return nil, err
		}
		return differences(i.stream, have.CachedInfo().Config, streamFields), nil
	}
	have, err := js.Consumer(ctx, i.Stream, i.Name)
	switch {
	case errors.Is(err, jetstream.ErrNotPullConsumer):
		return []Difference{{Field: "deliver_subject", Want: "none (a pull consumer)", Have: "set (a push consumer)"}}, nil
	case err != nil:
		return nil, err
	}
	return compareConsumer(i.consumer, have.CachedInfo().Config), nil
}

func (i *Item) create(ctx context.Context, js jetstream.JetStream) (err error) {
	request := "STREAM.CREATE." + i.Stream
	if i.Kind == KindConsumer {
		request = "CONSUMER.CREATE." + i.Stream + "." + i.Name + "." + i.consumer.FilterSubject
		_, err = js.CreateConsumer(ctx, i.Stream, i.consumer)
	} else {
		_, err = js.CreateStream(ctx, i.stream)
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
