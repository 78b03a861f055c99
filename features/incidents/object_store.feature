Feature: An object store that fails
  A bucket is reached over a network by somebody who may be busy, full or away; whatever it does, no backup is called done that is not.

  Background:
    Given a volume "app-data" holding 20 files and 512 KiB from seed 31
    And a repository "main"
    And a replication source "app" for "app-data" into "main" at "0 * * * *"
    When "app" synchronises once more

  Scenario: A store that answers 503 gets no backup counted, and the next one is whole
    When the fault "store-unavailable" begins
    And the workload changes 5, adds 5 and removes 5 files of "app-data" from seed 32
    And the ReplicationSource "app" is triggered with "now"
    And a condition of the ReplicationSource "app" says "attempts of the mover failed"
    Then "app" has synchronised once
    And the repository "main" verifies
    When the fault "store-unavailable" ends
    And "app" synchronises once more
    Then each sync of "app" left exactly one snapshot
    And the newest snapshot of "app" restores to what "app-data" held
    And the repository "main" verifies

  Scenario: A slow store makes a backup late, not wrong
    When the fault "store-slow" begins
      | by | 300ms |
    And the workload changes 5, adds 5 and removes 5 files of "app-data" from seed 32
    And "app" synchronises once more
    Then each sync of "app" left exactly one snapshot
    And the newest snapshot of "app" restores to what "app-data" held
    And the fault "store-slow" has fired

  Scenario: A connection that is reset in the middle of a pack leaves no half of it
    When the fault "store-reset" begins
      | aim.class | *main/p |
      | aim.times | 1       |
      | operation | put     |
    And the workload changes 5, adds 5 and removes 5 files of "app-data" from seed 32
    And "app" synchronises once more
    Then the fault "store-reset" has fired
    And each sync of "app" left exactly one snapshot
    And the newest snapshot of "app" restores to what "app-data" held
    And the repository "main" verifies

  Scenario: A full store keeps the older backups whole
    When the fault "store-full" begins
    And the workload changes 5, adds 5 and removes 5 files of "app-data" from seed 32
    And the ReplicationSource "app" is triggered with "now"
    And a condition of the ReplicationSource "app" says "XMinioStorageFull"
    Then "app" has synchronised once
    And the repository "main" verifies
    When the fault "store-full" ends
    And "app" synchronises once more
    Then the newest snapshot of "app" restores to what "app-data" held
    And the repository "main" verifies

  Scenario: A store whose clock is off is told from one that is away
    When the fault "store-clock-skew" begins
    And the ReplicationSource "app" is triggered with "now"
    And a condition of the ReplicationSource "app" says "set the clock of the node or of the store"
    Then "app" has synchronised once
    When the fault "store-clock-skew" ends
    And "app" synchronises once more
    Then the newest snapshot of "app" restores to what "app-data" held

  Scenario: A bit that flips in the bucket keeps a restore from being called done until it is mended
    When the fault "store-bit-rot" begins
    And an unfilled claim "app-data-again" is created
    And a replication destination "restore" from "main" of "app" into "app-data-again" on tag "fire" is created
    And a condition of the ReplicationDestination "restore" says "are damaged in the repository; the rest was restored"
    Then the fault "store-bit-rot" has fired
    And "restore" calls nothing restored
    When the fault "store-bit-rot" ends
    And "restore" completes
    Then the claim "app-data-again" holds what "app-data" held at the last sync
    And the repository "main" verifies

  Scenario: An object that vanished from the bucket is missed by whoever reads it, and is back when it is put back
    When the fault "store-missing-blob" begins
    And an unfilled claim "app-data-again" is created
    And a replication destination "restore" from "main" of "app" into "app-data-again" on tag "fire" is created
    And a condition of the ReplicationDestination "restore" says "are damaged in the repository; the rest was restored"
    Then the fault "store-missing-blob" has fired
    And "restore" calls nothing restored
    When the fault "store-missing-blob" ends
    And "restore" completes
    Then the claim "app-data-again" holds what "app-data" held at the last sync
    And the repository "main" verifies
