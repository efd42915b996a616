// The button "Enhance contrast" on the study page of Orthanc Explorer 1 (jQuery 1.7, jQuery Mobile 1.1).
// Everything that comes from the server is shown with .text(), so nothing in it can become markup.
(function () {
  'use strict';

  var POLL_MS = 1000;
  var IDLE_POLL_MS = 5000;
  var SENTENCES = {
    NONE: 'Not enhanced yet.',
    NOTICED: 'Noticed; the study is being looked at.',
    INCOMPLETE: 'Not complete',
    QUEUED: 'Waiting in the queue.',
    RUNNING: 'At work',
    STORED: 'The enhanced series is stored in this study.',
    REJECTED: 'Refused',
    FAILED: 'Failed',
    CANCELLED: 'Cancelled',
    SUPERSEDED: 'Superseded by newer inputs'
  };
  var timer = null;
  var sequence = 0;

  function studyId() {
    return $.mobile.pageData && $.mobile.pageData.uuid ? String($.mobile.pageData.uuid) : '';
  }

  function onStudyPage() {
    return $.mobile.activePage && $.mobile.activePage.attr('id') === 'study';
  }

  function url(study) {
    return '../enhancement/studies/' + encodeURIComponent(study);
  }

  function sentence(status) {
    var text = SENTENCES[status.state] || status.state;
    if (status.state === 'RUNNING') {
      text += ': ' + (status.stage || 'starting') + ', ' + Math.round(100 * status.fraction) + ' %';
    } else if (status.state === 'QUEUED' && status.reason) {
      text = 'Will be tried again';
    }
    return status.reason ? text + ': ' + status.reason : text;
  }

  function show(status) {
    var active = status.state === 'RUNNING' || status.state === 'QUEUED' || status.state === 'NOTICED';
    $('#enhancement-state').text(sentence(status)).attr('data-state', status.state);
    $('#enhancement-advice').text(status.advice || '').toggle(Boolean(status.advice));
    $('#enhancement-progress').toggle(status.state === 'RUNNING')
      .attr('value', status.state === 'RUNNING' ? status.fraction : 0);
    $('#enhancement-start').toggleClass('ui-disabled', active);
    $('#enhancement-cancel').closest('li').toggle(active);
    return active;
  }

  function fault(xhr) {
    var body = {};
    try {
      body = JSON.parse(xhr.responseText) || {};
    } catch (error) {
      body = {};
    }
    show({
      state: 'FAILED', fraction: 0,
      reason: body.message || 'the plugin does not answer (HTTP ' + xhr.status + ')',
      advice: body.advice || ''
    });
  }

  function refresh() {
    var study = studyId();
    var asked = ++sequence;
    window.clearTimeout(timer);
    if (!study || !onStudyPage()) {
      return;
    }
    $.ajax({
      url: url(study), dataType: 'json', cache: false,
      success: function (status) {
        if (asked === sequence && study === studyId()) {
          timer = window.setTimeout(refresh, show(status) ? POLL_MS : IDLE_POLL_MS);
        }
      },
      error: function (xhr) {
        if (asked === sequence) {
          fault(xhr);
          timer = window.setTimeout(refresh, IDLE_POLL_MS);
        }
      }
    });
  }

  function send(path, body) {
    sequence++;
    $.ajax({
      url: path, type: 'POST', contentType: 'application/json', dataType: 'json', data: JSON.stringify(body),
      success: refresh,
      error: fault
    });
  }

  function start(event) {
    event.preventDefault();
    var stored = $('#enhancement-state').attr('data-state') === 'STORED';
    if (!stored || window.confirm('The enhanced series is there already. Make it once more?')) {
      show({ state: 'NOTICED', fraction: 0 });
      send(url(studyId()), { force: stored });
    }
  }

  function cancel(event) {
    event.preventDefault();
    send(url(studyId()) + '/cancel', {});
  }

  function item(id, label, icon, handler) {
    return $('<li>').attr('data-icon', icon).append($('<a>').attr({ href: '#', id: id }).text(label).click(handler));
  }

  $('#study').live('pagebeforecreate', function () {
    var list = $('<ul>').attr({
      id: 'enhancement', 'data-role': 'listview', 'data-inset': 'true', 'data-theme': 'd', 'data-divider-theme': 'c'
    });
    list.append($('<li>').attr('data-role', 'list-divider').text('Contrast enhancement'));
    list.append(item('enhancement-start', 'Enhance contrast', 'star', start));
    list.append(item('enhancement-cancel', 'Cancel', 'delete', cancel).hide());
    list.append(
      $('<li>').append(
        $('<p>').attr({ id: 'enhancement-state', 'aria-live': 'polite' }).css('white-space', 'normal').text('...'),
        $('<progress>').attr({ id: 'enhancement-progress', max: 1, value: 0 }).css('width', '100%').hide(),
        $('<p>').attr('id', 'enhancement-advice').css({ 'white-space': 'normal', 'font-style': 'italic' }).hide()
      )
    );
    list.insertAfter($('#study-delete').closest('ul'));
  });

  $('#study').live('pageshow', refresh);
  $('#study').live('pagehide', function () {
    sequence++;
    window.clearTimeout(timer);
  });
}());
