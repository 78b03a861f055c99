Feature: A NAS that fails
  A repository on NFS is as good as its server; whatever that does, no backup is called done that is not.

  Background:
    Given a volume "app-data" holding 20 files and 512 KiB from seed 25
    And a repository "main" on the NFS export "backups"
    And a replication source "app" for "app-data" into "main" at "0 * * * *"
    When "app" synchronises once more

  @virtual-time
  Scenario: A NAS that does not answer makes backups wait, and they finish when it is back
    When the fault "nfs-hard-mount-hang" begins
    And 3 hours pass
    Then "app" is synchronising
    And "app" is reported as overdue
    When the fault "nfs-hard-mount-hang" ends
    And "app" synchronises twice more
    Then "app" is not reported as overdue
    And each sync of "app" left exactly one snapshot
    And the newest snapshot of "app" restores to what "app-data" held

  Scenario Outline: A backup that was asked for waits for a NAS that is <how>, and is done when it is back
    When the fault "nfs-server-away" begins
      | how | <how> |
    And the ReplicationSource "app" is triggered with "now"
    And 25 seconds pass
    Then "app" has synchronised once
    And "app" is synchronising
    And the fault "nfs-server-away" has fired
    When the fault "nfs-server-away" ends
    And "app" synchronises once more
    Then each sync of "app" left exactly one snapshot
    And the newest snapshot of "app" restores to what "app-data" held
    And the repository "main" is still the same

    Examples:
      | how     |
      | stopped |
      | paused  |
      | cut     |

  Scenario: A NAS that falls silent in the middle of a backup is waited for
    Given a replication source "other" for "app-data" into "main" on tag "one"
    When "other" synchronises once more
    And the workload changes 5, adds 5 and removes 5 files of "app-data" from seed 26
    And the fault "nfs-hard-mount-hang" begins
      | writes-only | true |
    And the ReplicationSource "other" is triggered with "two"
    And the mover of "other" has started
    And 25 seconds pass
    Then "other" is synchronising
    And the fault "nfs-hard-mount-hang" has fired
    When the fault "nfs-hard-mount-hang" ends
    And "other" has synchronised twice
    Then each sync of "other" left exactly one snapshot
    And the newest snapshot of "other" restores to what "app-data" held
    And the repository "main" verifies

  Scenario: A NAS that shows an empty export gets no second repository
    When the fault "nfs-wrong-export" begins
    And the ReplicationSource "app" is triggered with "now"
    And a condition of the ReplicationSource "app" says "refused to create another repository"
    Then "app" has synchronised once
    When the fault "nfs-wrong-export" ends
    And "app" synchronises once more
    Then the repository "main" is still the same
    And the newest snapshot of "app" restores to what "app-data" held

  Scenario: A full NAS leaves the older backups whole
    When the fault "nfs-no-space" begins
    And the workload changes 5, adds 5 and removes 5 files of "app-data" from seed 26
    And the ReplicationSource "app" is triggered with "now"
    And a condition of the ReplicationSource "app" says "attempts of the mover failed"
    Then the repository "main" verifies
    When the fault "nfs-no-space" ends
    And "app" synchronises once more
    Then the newest snapshot of "app" restores to what "app-data" held
    And the repository "main" verifies
