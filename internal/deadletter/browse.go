package deadletter

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/passcode-worker/passcode-worker/internal/retry"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// Reading takes at most this much into memory at a time.
const (
	batchMessages = 512
	batchBytes    = 2 << 20 // a slow link must bring a batch within one try
)

// Errors of a Browser; match with errors.Is.
var (
	ErrNoStream = errors.New("there is no dead-letter stream")
	ErrGone     = errors.New("the dead letter is gone")
)

// Browser reads and removes dead letters. It may be used by many goroutines.
type Browser struct {
	js            jetstream.JetStream
	stream        jetstream.Stream
	name, subject string
}

// Browse returns a browser of an existing dead-letter stream; subject is the prefix of its dead letters.
func Browse(ctx context.Context, js jetstream.JetStream, stream, subject string) (*Browser, error) {
	found, err := retry.Value(ctx, func(ctx context.Context) (jetstream.Stream, error) { return js.Stream(ctx, stream) })
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return nil, fmt.Errorf("%w: %s", ErrNoStream, stream)
	case err != nil:
		return nil, fmt.Errorf("open the dead-letter stream %s: %w", stream, err)
	case !found.CachedInfo().Config.AllowDirect:
		return nil, fmt.Errorf("the dead-letter stream %s can't be read in batches: set allow_direct (nats stream edit %s --allow-direct)", stream, stream)
	}
	return &Browser{js: js, stream: found, name: stream, subject: subject}, nil
}

// OldestFirst gives the dead letters that the filter picks, read in batches. What
// comes while it reads is left out. An error ends it.
func (b *Browser) OldestFirst(ctx context.Context, f Filter) iter.Seq2[Stored, error] {
	return func(yield func(Stored, error) bool) {
		next, last, err := b.bounds(ctx)
		for more := true; err == nil && more && next <= last; {
			var page []Stored
			page, more, err = b.page(ctx, f, next, last)
			for _, s := range page {
				next = s.Seq + 1
				if f.Match(s) && !yield(s, nil) {
					return
				}
			}
		}
		if err != nil {
			yield(Stored{}, err)
		}
	}
}

// NewestFirst is OldestFirst the other way round. The stream can only be read upwards, so it is read in windows of
// sequences from its end, each as wide as fits into one batch.
func (b *Browser) NewestFirst(ctx context.Context, f Filter) iter.Seq2[Stored, error] {
	return func(yield func(Stored, error) bool) {
		first, last, err := b.bounds(ctx)
		for width := uint64(batchMessages); err == nil && first <= last; {
			from := max(first, last-min(width, last)+1)
			var page []Stored
			var more bool
			page, more, err = b.page(ctx, f, from, last)
			if more && from < last {
				width = max((last-from+1)/2, 1)
				continue
			}
			for _, s := range slices.Backward(page) {
				if f.Match(s) && !yield(s, nil) {
					return
				}
			}
			if len(page) < batchMessages/4 {
				width *= 4
			}
			last = from - 1
		}
		if err != nil {
			yield(Stored{}, err)
		}
	}
}

// bounds returns the first and the last sequence in the stream; where it is empty the first is the higher one.
// It is at least 1: the server refuses to read from the 0 of a new stream.
func (b *Browser) bounds(ctx context.Context) (first, last uint64, err error) {
	info, err := retry.Value(ctx, func(ctx context.Context) (*jetstream.StreamInfo, error) { return b.stream.Info(ctx) })
	if err != nil {
		return 0, 0, fmt.Errorf("look at the dead-letter stream: %w", err)
	}
	return max(info.State.FirstSeq, 1), info.State.LastSeq, nil
}

// page reads one batch of what lies between two sequences, both included. more says that there is more of it.
func (b *Browser) page(ctx context.Context, f Filter, from, to uint64) (page []Stored, more bool, err error) {
	err = retry.Do(ctx, func(ctx context.Context) error {
		page, more = nil, false
		messages, err := jetstreamext.GetBatch(ctx, b.js, b.name, batchMessages,
			jetstreamext.GetBatchSeq(from), jetstreamext.GetBatchSubject(f.pattern(b.subject)),
			jetstreamext.GetBatchMaxBytes(batchBytes))
		if err != nil {
			return err
		}
		err = retry.ErrNoAnswer // the iterator ends without a word when the time is over
		for msg, failure := range messages {
			switch {
			case errors.Is(failure, jetstreamext.ErrNoMessages):
				return nil
			case failure != nil:
				return failure
			case msg.Sequence > to:
				more = false
				return nil
			}
			page = append(page, newStored(b.subject, msg))
			more, err = msg.Sequence < to && msg.Header.Get("Nats-Num-Pending") != "0", nil
		}
		return err
	})
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return nil, false, fmt.Errorf("read the dead-letter stream: %w (needs the right to publish to $JS.API.DIRECT.GET.%s)", err, b.name)
	case err != nil:
		return nil, false, fmt.Errorf("read the dead-letter stream: %w", err)
	}
	return page, more, nil
}

// Get reads one dead letter by its sequence, or returns [ErrGone].
func (b *Browser) Get(ctx context.Context, seq uint64) (Stored, error) {
	msg, err := retry.Value(ctx, func(ctx context.Context) (*jetstream.RawStreamMsg, error) { return b.stream.GetMsg(ctx, seq) })
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return Stored{}, ErrGone
	case err != nil:
		return Stored{}, fmt.Errorf("read dead letter %d: %w", seq, err)
	}
	return newStored(b.subject, msg), nil
}

// Remove takes one dead letter out of the stream. One that is gone is no error.
func (b *Browser) Remove(ctx context.Context, seq uint64) error {
	err := retry.Do(ctx, func(ctx context.Context) error {
		err := b.stream.DeleteMsg(ctx, seq)
		if !errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
			return err
		}
		// What matters is whether the message is there; the server's reason is a text.
		if _, gone := b.stream.GetMsg(ctx, seq); errors.Is(gone, jetstream.ErrMsgNotFound) {
			return nil
		}
		return fmt.Errorf("%w: %w", err, retry.ErrAgain)
	})
	if err != nil {
		return fmt.Errorf("remove dead letter %d: %w", seq, err)
	}
	return nil
}

// Filter picks dead letters. What is empty picks all; what is given must all hold.
type Filter struct {
	IDs          []string // request ids, or "seq-N" for jobs whose id could not be read
	Reasons      []passcode.Reason
	ErrorCodes   []string  // matched exactly
	Since, Until time.Time // of death; Until itself is outside
}

// Empty reports whether the filter picks every dead letter.
func (f Filter) Empty() bool {
	return len(f.IDs) == 0 && len(f.Reasons) == 0 && len(f.ErrorCodes) == 0 && f.Since.IsZero() && f.Until.IsZero()
}

// Match reports whether the filter picks the dead letter.
func (f Filter) Match(s Stored) bool {
	return among(f.IDs, s.ID) && among(f.Reasons, s.Reason) && among(f.ErrorCodes, s.ErrorCode) &&
		(f.Since.IsZero() || !s.DeadAt.Before(f.Since)) && (f.Until.IsZero() || s.DeadAt.Before(f.Until))
}

func among[T comparable](wanted []T, value T) bool {
	return len(wanted) == 0 || slices.Contains(wanted, value)
}

// pattern is the narrowest single subject pattern with which the server leaves out what the filter does not pick.
func (f Filter) pattern(prefix string) string {
	switch {
	case len(f.IDs) == 1:
		return prefix + ".*." + f.IDs[0]
	case len(f.Reasons) == 1:
		return prefix + "." + string(f.Reasons[0]) + ".*"
	default:
		return prefix + ".>" // also what somebody else put there
	}
}
