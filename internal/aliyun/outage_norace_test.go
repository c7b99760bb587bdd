//go:build !race

package aliyun

import "time"

// outageLasts is how long Aliyun is away.
const outageLasts = time.Hour
