package consumer

import "github.com/passcode-worker/passcode-worker/passcode"

// duplicate announces a final result again to whoever repeated the job.
func (c *Consumer) duplicate(t *task) error {
	t.log.Info("duplicate of a finished request", "status", t.rec.Status)
	if err := c.announceDuplicate(t, t.rec); err != nil {
		return err
	}
	return t.Ack()
}

// announceDuplicate publishes a stored result once more, marked as a duplicate.
func (c *Consumer) announceDuplicate(t *task, rec passcode.Result) error {
	rec.Duplicate = true
	return c.announceAgain(t, rec)
}

// announceAgain publishes a stored result once more, as the server does when it
// is stored, and on the job's own reply subject.
func (c *Consumer) announceAgain(t *task, rec passcode.Result) error {
	if err := c.announcer.Announce(c.resultSubject+"."+rec.RequestID, rec); err != nil {
		return c.trouble("announce", err)
	}
	c.reply(t, rec)
	return nil
}

// announced counts a state that was just stored, which the server announces by
// itself, and sends it to the job's own reply subject.
func (c *Consumer) announced(t *task) {
	c.metrics.Status(t.rec.Status)
	c.reply(t, t.rec)
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
