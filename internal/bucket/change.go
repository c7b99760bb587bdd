package bucket

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/passcode-worker/passcode-worker/internal/retry"
)

// Change changes the value of a key by compare-and-swap, and returns the entry that stands in the end. decide is
// given what is known of the key and returns the value to store over it, or nil to leave it; it is asked again
// where somebody else was faster, or where the broker was in trouble. Its error ends the change, unless it wraps
// [retry.ErrAgain]: then the key is read again.
//
// start is what the key is assumed to hold; nil has it read. Unless the server
// accepts the write over an assumption, the key is read after all.
//
// A write whose answer was lost may have been made. Where the key holds the very
// bytes of such a write, decide is asked with [Entry.Own]. A write that the server
// surely refused is never taken for made: equal bytes are then somebody else's.
func (b *Bucket) Change(ctx context.Context, key string, start *Entry, decide func(Entry) (next []byte, err error)) (Entry, error) {
	c := change{server: b.server, key: key, decide: decide}
	if start != nil {
		c.entry, c.known, c.assumed = *start, true, true
	}
	if err := retry.Do(ctx, c.try); err != nil {
		return Entry{}, err
	}
	return c.entry, nil
}

// change is one call of Change, over all its tries.
type change struct {
	server Server
	key    string
	decide func(Entry) ([]byte, error)

	entry   Entry
	known   bool // entry is what to decide on
	assumed bool // and was never read
	refused bool // the last write was, so the newest entry is another one
	unsure  []write
}

// write is one whose answer was lost.
type write struct {
	value []byte
	over  uint64
}

func (c *change) try(ctx context.Context) error {
	// A lost race is decided on again at once, a second one after a pause.
	for raced := false; ; {
		if !c.known {
			if err := c.read(ctx); err != nil {
				return err
			}
		}
		next, err := c.decide(c.entry)
		switch {
		case errors.Is(err, retry.ErrAgain):
			c.known = false
			return err
		case err != nil:
			return retry.Permanent(err)
		case next == nil && c.assumed:
			c.known = false
			continue
		case next == nil:
			return nil
		}
		err = c.write(ctx, next)
		if !errors.Is(err, ErrConflict) {
			return err
		}
		c.known, c.refused = false, true
		if raced {
			return fmt.Errorf("%w: %w", err, retry.ErrAgain)
		}
		raced = true
	}
}

func (c *change) read(ctx context.Context) error {
	entry, err := c.server.Get(ctx, c.key)
	if err != nil {
		return err
	}
	var unsure []write
	for _, w := range c.unsure {
		switch {
		case c.refused && entry.Value != nil && entry.Revision < w.over: // the newest is that one or a later one
			return fmt.Errorf("an old value was read: %w", retry.ErrAgain)
		case entry.Revision <= w.over: // it may be made yet
			unsure = append(unsure, w)
		case entry.Value != nil && bytes.Equal(entry.Value, w.value):
			entry.Own = true
		}
	}
	c.unsure = unsure
	c.entry, c.known, c.assumed, c.refused = entry, true, false, false
	return nil
}

func (c *change) write(ctx context.Context, value []byte) error {
	over := c.entry.Revision
	revision, err := c.server.Swap(ctx, c.key, value, over)
	switch {
	case err == nil:
		c.entry = Entry{Value: value, Revision: revision}
	case !errors.Is(err, ErrConflict) && !retry.NeverSent(err):
		c.unsure = append(c.unsure, write{value, over})
	}
	return err
}
