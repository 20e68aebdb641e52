#!/usr/bin/env bash
# The AMQP binding of the CloudEvents SDK for Java writes extensions without a prefix and does not read them back.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir -p src/main/java
cat > pom.xml <<'END'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>finding</groupId>
  <artifactId>finding</artifactId>
  <version>1</version>
  <properties>
    <maven.compiler.source>17</maven.compiler.source>
    <maven.compiler.target>17</maven.compiler.target>
    <project.build.sourceEncoding>UTF-8</project.build.sourceEncoding>
  </properties>
  <dependencies>
    <dependency>
      <groupId>io.cloudevents</groupId>
      <artifactId>cloudevents-amqp-proton</artifactId>
      <version>2.3.0</version>
    </dependency>
  </dependencies>
</project>
END
cat > src/main/java/Ask.java <<'END'
import io.cloudevents.amqp.ProtonAmqpMessageFactory;
import io.cloudevents.core.builder.CloudEventBuilder;
import java.net.URI;
import java.util.TreeMap;

public class Ask {
    public static void main(String[] none) {
        var event = CloudEventBuilder.v1().withId("1").withSource(URI.create("/bank")).withType("paid")
            .withExtension("tenant", "north").withData("application/json", "{}".getBytes()).build();
        var message = ProtonAmqpMessageFactory.createWriter().writeBinary(event);
        System.out.println("properties: " + new TreeMap<>(message.getApplicationProperties().getValue()));
        System.out.println("extensions read back: " + ProtonAmqpMessageFactory.createReader(message).toEvent().getExtensionNames());
    }
}
END

echo "Maven io.cloudevents:cloudevents-amqp-proton 2.3.0"
echo "The extension tenant becomes the application property tenant, the other attributes get cloudEvents: before their names. Its own"
echo "reader looks for the prefix and loses the extension."
expected='properties: {cloudEvents:id=1, cloudEvents:source=/bank, cloudEvents:specversion=1.0, cloudEvents:type=paid, tenant=north}
extensions read back: []'
mvn -q -B compile org.apache.maven.plugins:maven-dependency-plugin:3.6.1:build-classpath -Dmdep.outputFile=classpath >mvn.log 2>&1 ||
    { cat mvn.log >&2; exit 1; }
seen=$(java -cp "target/classes:$(cat classpath)" Ask 2>/dev/null)
echo "$seen"
[ "$seen" = "$expected" ] || { printf 'changed; it was:\n%s\n' "$expected" >&2; exit 1; }
