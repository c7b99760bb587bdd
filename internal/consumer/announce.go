package consumer

import (
	"github.com/passcode-worker/passcode-worker/passcode"
)

// duplicate announces a final result again to whoever repeated the job.
func (c *Consumer) duplicate(t *task) error {
	t.log.Info("duplicate of a finished request", "status", t.rec.Status)
	if err := c.announceAgain(t, t.rec); err != nil {
		return err
	}
	return t.Ack()
}

// underWay drops a repeated job: the one that owns the request will announce.
func (c *Consumer) underWay(t *task) error {
	t.log.Info("duplicate of a request under way", "status", t.rec.Status)
	return t.Ack()
}

// announceAgain publishes a stored result once more, marked as a duplicate.
func (c *Consumer) announceAgain(t *task, rec passcode.Result) error {
	rec.Duplicate = true
	if err := c.announcer.Announce(c.resultSubject+"."+rec.RequestID, rec); err != nil {
		return c.trouble("announce", err)
	}
	c.reply(t, rec)
	return nil
}

// reply sends a result to the job's own reply subject, where it has one. A
// failure doesn't hold the job up: the result is stored and was announced.
func (c *Consumer) reply(t *task, rec passcode.Result) {
	if t.job.ReplyTo == "" {
		return
	}
	if err := c.announcer.Announce(t.job.ReplyTo, rec); err != nil {
		_ = c.trouble("reply", err)
		t.log.Warn("result not published on the job's reply subject", "error", err)
	}
}
