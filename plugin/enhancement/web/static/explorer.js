// The button "Enhance contrast" on the study page of Orthanc Explorer 1 (jQuery 1.7, jQuery Mobile 1.1).
// Everything that comes from the server is shown with .text(), so nothing in it can become markup.
(function () {
  'use strict';

  var POLL_MS = 1000;
  var IDLE_POLL_MS = 5000;
  var ROOT = '../enhancement';
  // What a state is called, and the colour of its dot. ACTIVE ones are asked for more often and can be cancelled.
  var STATES = {
    NONE: ['Not enhanced yet.', '#999'],
    NOTICED: ['Noticed; the study is being looked at.', '#2b7bb9'],
    INCOMPLETE: ['Not complete', '#e0a000'],
    QUEUED: ['Waiting in the queue.', '#2b7bb9'],
    RUNNING: ['At work', '#2b7bb9'],
    STORED: ['The enhanced series is stored in this study.', '#3a9a3a'],
    REJECTED: ['Refused', '#e0a000'],
    FAILED: ['Failed', '#c62828'],
    CANCELLED: ['Cancelled', '#999'],
    SUPERSEDED: ['Superseded by newer inputs', '#999'],
    UNAVAILABLE: ['Not available', '#c62828']
  };
  var ACTIVE = { NOTICED: true, QUEUED: true, RUNNING: true };
  var timer = null;
  var sequence = 0; // of the question asked last; answers to older ones are dropped
  var shown = {};
  var shownStudy = '';

  function studyId() {
    return $.mobile.pageData && $.mobile.pageData.uuid ? String($.mobile.pageData.uuid) : '';
  }

  function onStudyPage() {
    return $.mobile.activePage && $.mobile.activePage.attr('id') === 'study';
  }

  function url(study) {
    return ROOT + '/studies/' + encodeURIComponent(study);
  }

  function known(state) {
    return Object.prototype.hasOwnProperty.call(STATES, state) ? STATES[state] : [state, '#999'];
  }

  function headline(status) {
    if (status.state === 'RUNNING') {
      return 'At work: ' + (status.stage || 'starting');
    }
    if (status.state === 'QUEUED' && status.reason) {
      return 'Will be tried again';
    }
    return known(status.state)[0];
  }

  // Only what has changed is written: a screen reader reads a live region aloud whenever it is touched.
  function write(id, text) {
    var place = $(id);
    if (place.text() !== text) {
      place.text(text);
    }
    place.toggle(text !== '');
  }

  function show(status) {
    var active = Boolean(ACTIVE[status.state]);
    var running = status.state === 'RUNNING';
    var percent = Math.round(100 * (Number(status.fraction) || 0));
    $('#enhancement-state').attr('data-state', status.state);
    $('#enhancement-dot').css('background', known(status.state)[1]);
    write('#enhancement-headline', status.reason ? headline(status).replace(/\.$/, '') + ':' : headline(status));
    write('#enhancement-reason', status.reason || '');
    write('#enhancement-advice', status.advice || '');
    $('#enhancement-progress').attr('value', running ? percent : 0).closest('div').toggle(running);
    $('#enhancement-percent').text(percent + ' %');
    $('#enhancement-start').toggleClass('ui-disabled', active).attr('aria-disabled', String(active));
    $('#enhancement-cancel').closest('li').toggle(active);
    $('#enhancement-open').closest('li').toggle(status.state === 'STORED' && Boolean((status.result_uids || [])[0]));
    if (status.state === 'STORED' && ACTIVE[shown.state] && typeof window.RefreshStudy === 'function') {
      window.RefreshStudy(); // Orthanc Explorer's own: the new series appears in the list
    }
    shown = status;
    return active;
  }

  function faultOf(xhr) {
    var body = {};
    try {
      body = JSON.parse(xhr.responseText) || {};
    } catch (error) {
      body = {};
    }
    return {
      state: 'UNAVAILABLE', fraction: 0,
      reason: body.reason || 'the plugin does not answer (HTTP ' + xhr.status + ')',
      advice: body.advice || ''
    };
  }

  function notice(text) {
    write('#enhancement-notice', text);
  }

  function ask(path, answered, failed) {
    $.ajax({ url: path, dataType: 'json', cache: false, success: answered, error: failed });
  }

  function refresh() {
    var study = studyId();
    var asked = ++sequence;
    function current() {
      return asked === sequence && study === studyId();
    }
    window.clearTimeout(timer);
    if (!study || !onStudyPage()) {
      return;
    }
    ask(url(study), function (status) {
      if (current()) {
        timer = window.setTimeout(refresh, show(status) ? POLL_MS : IDLE_POLL_MS);
      }
    }, function (xhr) {
      if (current()) {
        show(faultOf(xhr));
        timer = window.setTimeout(refresh, IDLE_POLL_MS);
      }
    });
    ask(ROOT + '/status', function (service) {
      if (current()) {
        showService(service);
      }
    }, function () {
      write('#enhancement-service', ''); // the study's own answer tells it
    });
  }

  function showService(service) {
    var problems = $.map(service.problems || [], function (problem) {
      return problem.reason.replace(/\.?$/, '.') + (problem.advice ? ' ' + problem.advice : '');
    });
    var text = '';
    if (service.light === 'red' && shown.state !== 'UNAVAILABLE') {
      text = 'Enhancement does not work at present: ' + problems.join(' ');
    } else if (service.paused) {
      text = 'Enhancement is paused; nothing is started until it is resumed.';
    }
    write('#enhancement-service', text);
  }

  function send(path, body) {
    sequence++;
    notice('');
    $.ajax({
      url: path, type: 'POST', contentType: 'application/json', dataType: 'json', data: JSON.stringify(body),
      success: refresh,
      error: function (xhr) {
        var fault = faultOf(xhr);
        notice('This was not done: ' + fault.reason + (fault.advice ? ' ' + fault.advice : ''));
        refresh();
      }
    });
  }

  function start() {
    var stored = shown.state === 'STORED';
    if (ACTIVE[shown.state]) {
      return; // greyed out for the mouse; the keyboard still gets here
    }
    if (!stored || window.confirm('The enhanced series is there already. Make it once more?')) {
      show({ state: 'NOTICED', fraction: 0 });
      send(url(studyId()), { force: stored });
    }
  }

  function cancel() {
    send(url(studyId()) + '/cancel', {});
  }

  function open() {
    $.ajax({
      url: '../tools/lookup', type: 'POST', data: String(shown.result_uids[0]), contentType: 'text/plain',
      dataType: 'json',
      success: function (found) {
        var series = $.grep(found, function (item) { return item.Type === 'Series'; })[0];
        if (series) {
          $.mobile.changePage('#series?uuid=' + encodeURIComponent(series.ID));
        } else {
          notice('The series is not in the archive any more.');
        }
      },
      error: function () {
        notice('The archive did not answer.');
      }
    });
  }

  function explain() {
    var list = $('#enhancement-series');
    if (list.is(':visible')) {
      hideSeries();
      return;
    }
    $('#enhancement-explain').attr('aria-expanded', 'true');
    list.empty().append(paragraph(null, {}).text('Looking at the headers...')).show();
    ask(url(studyId()) + '/explain', showSeries, function (xhr) {
      list.empty().append(paragraph(null, {}).text(faultOf(xhr).reason));
    });
  }

  function hideSeries() {
    $('#enhancement-series').hide().empty();
    $('#enhancement-explain').attr('aria-expanded', 'false');
  }

  function showSeries(found) {
    var list = $('#enhancement-series').empty();
    var taken = {};
    $.each(found.roles || {}, function (role, uids) {
      $.each($.isArray(uids) ? uids : [uids], function (_, uid) { taken[uid] = role; });
    });
    $.each(found.series || [], function (_, series) {
      var role = taken[series.series_instance_uid];
      list.append(
        paragraph(null, { 'margin-top': '.6em' }).append(
          $('<strong>').text(series.series_description || 'without description'),
          $('<span>').css('font-weight', 'normal').text(role ? ': used as ' + role : ': not used')
        ),
        paragraph(null, { 'font-weight': 'normal', color: '#555' }).text(series.reason)
      );
    });
  }

  function item(id, label, icon, handler) {
    var link = $('<a>').attr({ href: '#', id: id, role: 'button' }).text(label).click(function (event) {
      event.preventDefault();
      handler();
    });
    return $('<li>').attr('data-icon', icon).append(link);
  }

  function paragraph(id, css) {
    var look = { 'white-space': 'normal', margin: '.2em 0', 'font-size': '13px' };
    return $('<p>').attr(id ? { id: id } : {}).css($.extend(look, css));
  }

  function panel() {
    var dot = $('<span>').attr({ id: 'enhancement-dot', 'aria-hidden': 'true' }).css({
      display: 'inline-block', width: '10px', height: '10px', 'border-radius': '5px', 'margin-right': '6px',
      background: '#999'
    });
    var state = $('<div>').attr({ id: 'enhancement-state', role: 'status', 'aria-live': 'polite' }).append(
      paragraph(null, {}).append(dot, $('<strong>').attr('id', 'enhancement-headline').text('...')),
      paragraph('enhancement-reason', { 'font-weight': 'normal' }).hide(),
      paragraph('enhancement-advice', { 'font-weight': 'normal', 'font-style': 'italic' }).hide()
    );
    // Beside the live region, so that a screen reader does not read every percent aloud.
    var bar = $('<div>').css({ display: 'none', 'font-size': '13px', 'font-weight': 'normal' }).append(
      $('<progress>').attr({ id: 'enhancement-progress', max: 100, value: 0, 'aria-label': 'Progress of the enhancement' })
        .css({ width: '80%', 'vertical-align': 'middle' }),
      $('<span>').attr({ id: 'enhancement-percent', 'aria-hidden': 'true' }).css('float', 'right')
    );
    return $('<li>').append(
      state, bar,
      paragraph('enhancement-notice', { color: '#c62828' }).attr('role', 'alert').hide(),
      paragraph('enhancement-service', { color: '#c62828' }).attr('role', 'status').hide(),
      $('<div>').attr('id', 'enhancement-series').css('margin-top', '.6em').hide()
    );
  }

  $('#study').live('pagebeforecreate', function () {
    var list = $('<ul>').attr({
      id: 'enhancement', 'data-role': 'listview', 'data-inset': 'true', 'data-theme': 'd', 'data-divider-theme': 'c'
    });
    list.append($('<li>').attr('data-role', 'list-divider').text('Contrast enhancement'));
    list.append(item('enhancement-start', 'Enhance contrast', 'star', start));
    list.append(item('enhancement-cancel', 'Cancel', 'delete', cancel).hide());
    list.append(item('enhancement-open', 'Open the enhanced series', 'arrow-r', open).hide());
    list.append(item('enhancement-explain', 'Which series, and why', 'info', explain));
    list.append(panel());
    list.insertAfter($('#study-delete').closest('ul'));
    $('#enhancement-explain').attr({ 'aria-expanded': 'false', 'aria-controls': 'enhancement-series' });
  });

  $('#study').live('pageshow', function () {
    if (shownStudy !== studyId()) {
      shownStudy = studyId();
      shown = {};
      show({ state: '...', fraction: 0 });
      notice('');
      hideSeries();
    }
    refresh();
  });
  $('#study').live('pagehide', function () {
    sequence++;
    window.clearTimeout(timer);
  });
}());
