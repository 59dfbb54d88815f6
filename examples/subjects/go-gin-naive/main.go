// The consumer inside a Gin service as it is often first written: it dials once in main, ranges over the
// deliveries, and never looks at NotifyClose.
//
// When the connection goes, the range loop ends without a word. The process lives on, /health says UP, the
// load balancer is content, and nothing is consumed until somebody restarts it. SIGTERM kills it in the
// middle of a message.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	amqp "github.com/rabbitmq/amqp091-go"
)

func failOnError(err error, msg string) {
	if err != nil {
		log.Fatalf("%s: %s", msg, err)
	}
}

func handle(d amqp.Delivery) {
	ms, _ := strconv.Atoi(os.Getenv("GAUNTLET_HANDLER_TIME_MS"))
	time.Sleep(time.Duration(ms) * time.Millisecond) // the work
	fmt.Printf("handled %s\n", d.MessageId)
}

func main() {
	conn, err := amqp.Dial(os.Getenv("AMQP_URL"))
	failOnError(err, "Failed to connect to RabbitMQ")
	defer conn.Close()

	ch, err := conn.Channel()
	failOnError(err, "Failed to open a channel")
	defer ch.Close()

	prefetch, err := strconv.Atoi(os.Getenv("GAUNTLET_PREFETCH"))
	failOnError(err, "GAUNTLET_PREFETCH")
	failOnError(ch.Qos(prefetch, 0, false), "Failed to set QoS")

	msgs, err := ch.Consume(os.Getenv("GAUNTLET_QUEUE"), "", false, false, false, false, nil)
	failOnError(err, "Failed to register a consumer")

	go func() {
		for d := range msgs {
			handle(d)
			d.Ack(false)
		}
	}()

	gin.DefaultWriter = os.Stderr // stdout is for what is handled
	r := gin.Default()
	r.GET("/health", func(c *gin.Context) {
		c.JSON(http.StatusOK, gin.H{"status": "UP"})
	})
	address := os.Getenv("GAUNTLET_HEALTH")
	if address == "" {
		address = "127.0.0.1:0"
	}
	failOnError(r.Run(address), "Failed to serve HTTP")
}
