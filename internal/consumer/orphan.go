package consumer

import "context"

// underWay ends a job whose request another job owns: it is dropped, since its owner
// brings the request to its end and announces that. Where the owner is gone from the
// stream, which was deleted or purged then, nobody else would: the job takes its
// place.
func (c *Consumer) underWay(ctx context.Context, t *task) error {
	orphaned, err := c.orphaned(ctx, t)
	if err != nil {
		return err
	}
	if orphaned {
		return c.adopt(ctx, t)
	}
	t.log.Info("duplicate of a request under way", "status", t.rec.Status)
	return t.Ack()
}

// orphaned reports whether the job that owns the request's record is in the stream
// no more. A record that was read before its owner came to its end looks the same;
// adopt finds it changed. So does a stream whose answering replica is behind: then
// two jobs are at one request for a while, as when a lease has run out, and as then
// the record decides which of them goes on.
func (c *Consumer) orphaned(ctx context.Context, t *task) (bool, error) {
	switch {
	case t.rec.Phone != t.phone.Masked():
		// Look-ups would ask about another number than the owner's.
		return false, nil
	case t.rec.StreamSeq == t.origin.Seq:
		return true, nil // this job stands in its owner's place
	}
	waits, err := c.jobs.Waits(ctx, t.rec.StreamSeq, t.rec.RequestID)
	if err != nil {
		return false, c.trouble("find owner", err)
	}
	c.standing.worked("find owner")
	return !waits, nil
}

// adopt makes the job the owner of its request's record, which otherwise stays as it
// is, and has it delivered again: it is a redelivery then, and goes on from there. What
// the owner's worker may still be doing is found out as that of one which froze.
func (c *Consumer) adopt(ctx context.Context, t *task) error {
	gone := t.rec.StreamSeq
	rec := t.rec
	rec.StreamSeq, rec.Replays = t.origin.Seq, t.replays
	rec.UpdatedAt, rec.Worker = c.now(), c.worker
	if err := c.move(ctx, "recover", t, rec); err != nil {
		return err
	}
	t.log.Warn("the request's job is gone from the stream; this one takes its place", "status", rec.Status, "gone_stream_seq", gone)
	return t.Nak(handBackDelay)
}
