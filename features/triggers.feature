Feature: Triggers
  A sync runs when its trigger says, and only then.

  Background:
    Given a volume "app-data" holding 5 files and 64 KiB from seed 7
    And a repository "main"

  @K01 @virtual-time
  Scenario: A schedule runs once at creation and then by the clock
    Given a replication source "hourly" for "app-data" into "main" at "0 * * * *"
    When 90 minutes pass
    Then "hourly" has synchronised twice
    When 1 sync periods of "hourly" pass
    Then "hourly" has synchronised 3 times

  @K02
  Scenario: A manual tag runs once, and again only when it is new
    Given a replication source "manual" for "app-data" into "main" on tag "one"
    When "manual" synchronises once more
    And 30 seconds pass
    Then "manual" has synchronised once
    When the ReplicationSource "manual" is triggered with "one"
    And 30 seconds pass
    Then "manual" has synchronised once
    When the ReplicationSource "manual" is triggered with "two"
    And "manual" synchronises once more
    Then "manual" has synchronised twice
    And each sync of "manual" left exactly one snapshot

  @K03 @virtual-time
  Scenario: A manual tag suspends the schedule until it is taken away
    Given a replication source "both" for "app-data" into "main" at "0 * * * *"
      | trigger.manual | hold |
    When 24 hours pass
    Then "both" has synchronised once
    When the ReplicationSource "both" is set to
      | trigger.manual | null |
    And 5 hours pass
    Then "both" has synchronised at least 5 times
