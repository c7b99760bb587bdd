package broker

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
)

// The oldest NATS server that can be used: 2.11 brought the consumer pause that
// stops all replicas of the worker at once.
const minMajor, minMinor = 2, 11

// CheckServer says whether the connected server is new enough.
func CheckServer(nc *nats.Conn) error {
	version := nc.ConnectedServerVersion()
	if version == "" {
		return errors.New("check NATS server: not connected")
	}
	return checkVersion(version)
}

func checkVersion(version string) error {
	// "2.11.4", or with a pre-release such as "2.12.0-RC.1".
	var numbers [2]int
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	for i := range numbers {
		n, err := strconv.Atoi(append(parts, "", "")[i])
		if err != nil {
			return fmt.Errorf("check NATS server: can't read its version %s", shownVersion(version))
		}
		numbers[i] = n
	}
	if numbers[0] < minMajor || numbers[0] == minMajor && numbers[1] < minMinor {
		return fmt.Errorf("NATS server is version %s, at least %d.%d is needed: upgrade the server", shownVersion(version), minMajor, minMinor)
	}
	return nil
}

// shownVersion is a version as far as it may be shown: a server may say anything.
func shownVersion(version string) string {
	plain := func(r rune) bool { return r > ' ' && r < 0x7f }
	if len(version) <= 40 && version != "" && strings.IndexFunc(version, func(r rune) bool { return !plain(r) }) < 0 {
		return version
	}
	return strconv.QuoteToASCII(version[:min(len(version), 20)])
}
