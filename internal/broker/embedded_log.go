package broker

import (
	"fmt"
	"log/slog"
)

// serverLog passes a server's warnings and errors on. Its notices are for the
// operator of a server, which here is a part of the worker.
type serverLog struct {
	log *slog.Logger
	// fatal takes the first text of a server that can't run. The server's own
	// logger would end the process there.
	fatal chan string
}

func newServerLog(log *slog.Logger) *serverLog {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &serverLog{log: log.With("component", "embedded-nats"), fatal: make(chan string, 1)}
}

func (l *serverLog) Noticef(string, ...any) {}
func (l *serverLog) Debugf(string, ...any)  {}
func (l *serverLog) Tracef(string, ...any)  {}

func (l *serverLog) Warnf(format string, v ...any) {
	l.log.Warn(redact(fmt.Sprintf(format, v...)))
}

func (l *serverLog) Errorf(format string, v ...any) {
	l.log.Error(redact(fmt.Sprintf(format, v...)))
}

func (l *serverLog) Fatalf(format string, v ...any) {
	text := redact(fmt.Sprintf(format, v...))
	select {
	case l.fatal <- text: // returned by StartEmbedded, so not logged too
	default:
		l.log.Error(text)
	}
}
